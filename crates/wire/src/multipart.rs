//! Forms of several parts (`multipart/form-data`, RFC 7578), read as their bytes come: a file of any size takes no more
//! memory than the piece that just came.

use crate::{Kind, Problem};

/// The most bytes of a part's headers.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// The most parts of a form.
const MAX_PARTS: usize = 32;
/// The most bytes of what separates parts; RFC 2046 allows 70.
const MAX_BOUNDARY_BYTES: usize = 200;

/// What comes of a form, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A part begins.
    Part {
        /// The field's name.
        name: String,
        /// The file's, where it is one.
        filename: Option<String>,
    },
    /// Bytes of the part that began last.
    Data(Vec<u8>),
    /// It is over.
    End,
}

/// Where in a form the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Before,
    AfterDelimiter,
    Head,
    Data,
    Over,
}

/// A form that is being read.
#[derive(Clone, Debug)]
pub struct Multipart {
    delimiter: Vec<u8>,
    /// What is not understood before more comes.
    rest: Vec<u8>,
    place: Place,
    n_parts: usize,
}

fn fault(fact: &str) -> Problem {
    Problem::new(Kind::Request, format!("the form cannot be read: {fact}"))
}

impl Multipart {
    /// Begins, as the request's `Content-Type` says.
    ///
    /// # Errors
    /// It is no form, or does not say what separates its parts.
    pub fn new(content_type: &str) -> Result<Multipart, Problem> {
        let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
            let fact = "the body must be a form (`multipart/form-data`) with the fields `purpose` and `file`";
            return Err(Problem::new(Kind::Request, fact));
        }
        let boundary = parameter(parameters, "boundary").unwrap_or_default();
        if boundary.is_empty() || boundary.len() > MAX_BOUNDARY_BYTES || boundary.contains(['\r', '\n']) {
            return Err(fault("its `Content-Type` has no `boundary`, or one that cannot be"));
        }
        let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
        // The first part has no line before it.
        Ok(Multipart { delimiter, rest: b"\r\n".to_vec(), place: Place::Before, n_parts: 0 })
    }

    /// Reads what came.
    ///
    /// # Errors
    /// It is no form, or has more parts or longer heads than are allowed.
    pub fn push(&mut self, bytes: &[u8], pieces: &mut Vec<Piece>) -> Result<(), Problem> {
        if self.place == Place::Over {
            return Ok(()); // What follows the end says nothing.
        }
        self.rest.extend_from_slice(bytes);
        let rest = std::mem::take(&mut self.rest);
        let mut at = 0;
        while let Some(n) = self.step(&rest[at..], pieces)? {
            at += n;
        }
        self.rest = rest[at..].to_vec();
        Ok(())
    }

    /// Reads as far as one thing goes, and says how far; `None` if more must come first.
    fn step(&mut self, bytes: &[u8], pieces: &mut Vec<Piece>) -> Result<Option<usize>, Problem> {
        match self.place {
            Place::Before | Place::Data => {
                let found = find(bytes, &self.delimiter);
                // What may be the beginning of the delimiter waits.
                let n = found.unwrap_or(bytes.len().saturating_sub(self.delimiter.len() - 1));
                let is_data = self.place == Place::Data;
                if is_data && n > 0 {
                    pieces.push(Piece::Data(bytes[..n].to_vec()));
                }
                if found.is_none() {
                    return Ok(Some(n).filter(|n| *n > 0));
                }
                if is_data {
                    pieces.push(Piece::End);
                }
                self.place = Place::AfterDelimiter;
                Ok(Some(n + self.delimiter.len()))
            }
            Place::AfterDelimiter => match bytes {
                [b'-', b'-', ..] => {
                    self.place = Place::Over;
                    Ok(Some(bytes.len()))
                }
                [b'\r', b'\n', ..] => {
                    self.n_parts += 1;
                    if self.n_parts > MAX_PARTS {
                        return Err(fault(&format!("it has more than {MAX_PARTS} parts")));
                    }
                    self.place = Place::Head;
                    Ok(Some(2))
                }
                [b' ' | b'\t', ..] => Ok(Some(1)),
                [] | [_] => Ok(None),
                _ => Err(fault("a line that separates parts goes on")),
            },
            Place::Head => {
                let end = find(bytes, b"\r\n\r\n");
                if end.unwrap_or(bytes.len()) > MAX_HEAD_BYTES {
                    return Err(fault(&format!("a part has more than {MAX_HEAD_BYTES} bytes of headers")));
                }
                let Some(end) = end else { return Ok(None) };
                pieces.push(head(&bytes[..end])?);
                self.place = Place::Data;
                Ok(Some(end + 4))
            }
            Place::Over => Ok(None),
        }
    }

    /// Whether all of it came.
    ///
    /// # Errors
    /// It broke off.
    pub fn finish(&self) -> Result<(), Problem> {
        match self.place {
            Place::Over => Ok(()),
            _ => Err(fault("it broke off before its end")),
        }
    }
}

/// Where one text of bytes stands in another.
fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = *wanted.first()?;
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == first) {
        if bytes[from + at..].starts_with(wanted) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// What a part's headers say.
fn head(bytes: &[u8]) -> Result<Piece, Problem> {
    let text = String::from_utf8_lossy(bytes);
    let disposition = text.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then(|| value.trim().to_owned())
    });
    let disposition = disposition.ok_or_else(|| fault("a part has no `Content-Disposition`"))?;
    let (_, parameters) = disposition.split_once(';').unwrap_or((&disposition, ""));
    let name = parameter(parameters, "name").ok_or_else(|| fault("a part has no name"))?;
    Ok(Piece::Part { name, filename: parameter(parameters, "filename") })
}

/// A parameter of a header, as it stands or in quotes.
fn parameter(text: &str, wanted: &str) -> Option<String> {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ';']);
        let (name, after) = rest.split_once('=')?;
        let mut value = String::new();
        let after = after.trim_start();
        if let Some(quoted) = after.strip_prefix('"') {
            let mut chars = quoted.char_indices();
            let mut end = quoted.len();
            while let Some((i, c)) = chars.next() {
                match c {
                    '"' => {
                        end = i + 1;
                        break;
                    }
                    // Programs write paths with single backslashes.
                    '\\' if quoted[i + 1..].starts_with(['"', '\\']) => {
                        value.extend(chars.next().map(|(_, c)| c))
                    }
                    c => value.push(c),
                }
            }
            rest = &quoted[end..];
        } else {
            let end = after.find(';').unwrap_or(after.len());
            value.push_str(after[..end].trim());
            rest = &after[end..];
        }
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A part's name, its file's, and what is in it.
    type Whole = (String, Option<String>, Vec<u8>);

    /// The form's parts, where it comes in pieces of `n` bytes.
    fn read(form: &[u8], n: usize) -> Result<Vec<Whole>, Problem> {
        let mut multipart = Multipart::new("multipart/form-data; boundary=\"X-y\"")?;
        let mut pieces = Vec::new();
        for bytes in form.chunks(n) {
            multipart.push(bytes, &mut pieces)?;
        }
        multipart.finish()?;
        let mut parts = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Part { name, filename } => parts.push((name, filename, Vec::new())),
                Piece::Data(bytes) => parts.last_mut().unwrap().2.extend(bytes),
                Piece::End => {}
            }
        }
        Ok(parts)
    }

    #[test]
    fn however_it_comes() {
        let form = b"preamble\r\n--X-y  \r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--X-y\r\n\
            content-disposition: form-data; name=file; filename=\"a \\\"b\\\".jsonl\"\r\nContent-Type: x/y\r\n\r\n\
            {}\r\n--X-\r\n\r\n--X-y\r\nContent-Disposition: form-data; name=\"empty\"\r\n\r\n\r\n--X-y--\r\nafter";
        let want = vec![
            ("purpose".to_owned(), None, b"batch".to_vec()),
            ("file".to_owned(), Some("a \"b\".jsonl".to_owned()), b"{}\r\n--X-\r\n".to_vec()),
            ("empty".to_owned(), None, Vec::new()),
        ];
        for n in 1..form.len() + 1 {
            assert_eq!(read(form, n).unwrap(), want, "{n}");
        }
        // A part's text never waits for the whole of it.
        let mut multipart = Multipart::new("multipart/form-data; boundary=X").unwrap();
        let mut pieces = Vec::new();
        multipart.push(b"--X\r\nContent-Disposition: form-data; name=f\r\n\r\n", &mut pieces).unwrap();
        for _ in 0..100 {
            multipart.push(&[b'\r'; 1000], &mut pieces).unwrap();
            assert!(multipart.rest.len() <= 8);
        }
        assert!(multipart.finish().is_err());
    }

    #[test]
    fn what_is_no_form_is_refused() {
        for kind in ["application/json", "multipart/form-data", "multipart/form-data; boundary=", ""] {
            assert!(Multipart::new(kind).is_err(), "{kind}");
        }
        for form in [
            &b"--X-y\r\n\r\nx\r\n--X-y--"[..],
            b"--X-y\r\nContent-Disposition: form-data\r\n\r\nx\r\n--X-y--",
            b"--X-y\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--X-yz\r\n",
            b"--X-y\r\nContent-Disposition: form-data; name=a\r\n\r\nx",
            b"",
        ] {
            assert!(read(form, 7).is_err(), "{}", String::from_utf8_lossy(form));
        }
        let long = [b"--X-y\r\na: ".to_vec(), vec![b'x'; MAX_HEAD_BYTES + 1]].concat();
        assert!(read(&long, 100).unwrap_err().message.contains("headers"));
        let many = b"--X-y\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n".repeat(MAX_PARTS + 1);
        assert!(read(&many, 1000).unwrap_err().message.contains("parts"));
    }
}
