//! Samples of a file, one after the other, in memory that does not depend on the file's size.
//!
//! A file is text, with `<|endoftext|>` between its documents; JSON lines; an array of JSON; or Parquet. Its
//! ending and its first bytes say which. JSON is only cut here: whoever takes a sample parses it, on any thread.

use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use super::error::DataError;
use super::files::plain_ending;
#[cfg(feature = "parquet")]
use super::parquet::Rows;
use super::record::{Body, Record};
use super::unpack::{BytesRead, open_unpacked};

/// The longest line, and the largest element of an array.
const MAX_LINE_BYTES: usize = 64 << 20;

/// The largest text; what is longer is cut at the end of a line.
const MAX_TEXT_BYTES: usize = 16 << 20;

/// What stands between the documents of a text file.
const BETWEEN: &str = "<|endoftext|>";

type Input = Box<dyn BufRead + Send>;

/// A file that is being read.
pub(crate) struct Reader {
    path: PathBuf,
    form: Form,
}

enum Form {
    Text(Texts),
    Lines(Lines),
    Values(Values),
    #[cfg(feature = "parquet")]
    Parquet(Box<Rows>),
}

impl Reader {
    /// Opens a file; `bytes_read` counts its bytes as they are read.
    pub fn open(path: &Path, bytes_read: &BytesRead) -> Result<Reader, DataError> {
        let mut input = open_unpacked(path, bytes_read)?;
        let fail = |error: std::io::Error| DataError::in_file(path, error);
        let head = input.fill_buf().map_err(fail)?;
        if head.starts_with(b"PAR1") {
            drop(input);
            return Reader::open_parquet(path, bytes_read);
        }
        if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
            return Err(DataError::in_file(path, "it is UTF-16; save it as UTF-8"));
        }
        if head.starts_with(b"\xef\xbb\xbf") {
            input.consume(3);
        }
        let first = input.fill_buf().map_err(fail)?.iter().find(|byte| !byte.is_ascii_whitespace()).copied();
        let lines = Lines { input, line: 0 };
        let form = match (plain_ending(path).as_deref(), first) {
            (Some("txt" | "text"), _) => Form::Text(Texts::of(lines)),
            (Some("json" | "jsonl" | "ndjson") | None, Some(b'[')) => {
                Form::Values(Values::of(lines, Place::Before))
            }
            // Perhaps one object over many lines, perhaps one in each.
            (Some("json"), Some(b'{')) => Form::Values(Values::of(lines, Place::Bare)),
            (Some("json" | "jsonl" | "ndjson"), _) | (_, Some(b'{')) => Form::Lines(lines),
            _ => Form::Text(Texts::of(lines)),
        };
        Ok(Reader { path: path.to_owned(), form })
    }

    #[cfg(feature = "parquet")]
    fn open_parquet(path: &Path, bytes_read: &BytesRead) -> Result<Reader, DataError> {
        let rows = Box::new(Rows::open(path, bytes_read)?);
        Ok(Reader { path: path.to_owned(), form: Form::Parquet(rows) })
    }

    #[cfg(not(feature = "parquet"))]
    fn open_parquet(path: &Path, _: &BytesRead) -> Result<Reader, DataError> {
        let fact = "it is Parquet, which this build cannot read\n  build with the feature `parquet`, or save it as JSON lines";
        Err(DataError::in_file(path, fact))
    }

    /// The next sample.
    pub fn next(&mut self) -> Result<Option<Record>, DataError> {
        match &mut self.form {
            Form::Text(texts) => texts.next(&self.path),
            Form::Lines(lines) => loop {
                let Some(line) = lines.next(&self.path)? else { return Ok(None) };
                if !line.trim_ascii().is_empty() {
                    return Ok(Some(Record { line: lines.line, body: Body::Json(line), is_cut: false }));
                }
            },
            Form::Values(values) => values.next(&self.path),
            #[cfg(feature = "parquet")]
            Form::Parquet(rows) => rows.next(),
        }
    }
}

struct Lines {
    input: Input,
    /// The line that was read last, from 1.
    line: u64,
}

impl Lines {
    /// The next line with what ends it.
    fn next(&mut self, path: &Path) -> Result<Option<Vec<u8>>, DataError> {
        self.line += 1;
        let mut line = Vec::new();
        let mut limited = self.input.by_ref().take(MAX_LINE_BYTES as u64 + 1);
        let n = limited.read_until(b'\n', &mut line);
        let n = n.map_err(|error| DataError::at(path, self.line, error.to_string()))?;
        if n > MAX_LINE_BYTES {
            let fact = format!("it has more than {} MiB without an end", MAX_LINE_BYTES >> 20);
            return Err(DataError::at(path, self.line, fact));
        }
        Ok((n > 0).then_some(line))
    }
}

/// Documents of a text file.
struct Texts {
    lines: Lines,
    /// What follows the last document in a line that was read already.
    rest: String,
    rest_line: u64,
    is_at_end: bool,
}

impl Texts {
    fn of(lines: Lines) -> Texts {
        Texts { lines, rest: String::new(), rest_line: 1, is_at_end: false }
    }

    fn next(&mut self, path: &Path) -> Result<Option<Record>, DataError> {
        let mut text = std::mem::take(&mut self.rest);
        let mut first_line = self.rest_line;
        // Only what was added last can hold a mark; marks lie in one line.
        let mut searched = 0;
        loop {
            if let Some(at) = text[searched..].find(BETWEEN) {
                let at = searched + at;
                self.rest = text.split_off(at + BETWEEN.len());
                self.rest_line = self.lines.line.max(1);
                text.truncate(at);
                if let Some(record) = document(&text, first_line) {
                    return Ok(Some(record));
                }
                text = std::mem::take(&mut self.rest);
                (first_line, searched) = (self.rest_line, 0);
                continue;
            }
            searched = text.len();
            if text.len() >= MAX_TEXT_BYTES {
                self.rest_line = self.lines.line + 1;
                if let Some(record) = document(&text, first_line) {
                    return Ok(Some(Record { is_cut: true, ..record }));
                }
                text.clear();
                (first_line, searched) = (self.rest_line, 0);
            }
            if self.is_at_end {
                return Ok(document(&text, first_line));
            }
            match self.lines.next(path)? {
                None => self.is_at_end = true,
                Some(line) => {
                    let line = std::str::from_utf8(&line).map_err(|error| {
                        let fact = format!("byte {} of the line is not valid UTF-8", error.valid_up_to() + 1);
                        DataError::at(path, self.lines.line, fact)
                    })?;
                    if text.trim().is_empty() {
                        text.clear();
                        (first_line, searched) = (self.lines.line, 0);
                    }
                    text.push_str(line);
                }
            }
        }
    }
}

/// A document without the white space around it; `None` where nothing else is there.
fn document(text: &str, line: u64) -> Option<Record> {
    let text = text.trim();
    (!text.is_empty()).then(|| Record { line, body: Body::Text(text.to_owned()), is_cut: false })
}

/// Elements of one large array, or objects one after the other. Brackets and texts are followed to find where one
/// ends; whether it is JSON, its parser says.
struct Values {
    input: Input,
    element: u64,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the array.
    Before,
    /// In the array.
    Inside,
    /// After it.
    After,
    /// There is no array.
    Bare,
}

impl Values {
    fn of(lines: Lines, place: Place) -> Values {
        Values { input: lines.input, element: 0, place }
    }

    fn next(&mut self, path: &Path) -> Result<Option<Record>, DataError> {
        let element = self.element + 1;
        let fail = |fact: &str| DataError::at(path, element, format!("(the value of this number) {fact}"));
        let mut json = Vec::new();
        let mut scan = Scan::default();
        loop {
            let bytes = self.input.fill_buf().map_err(|error| fail(&error.to_string()))?;
            if bytes.is_empty() {
                let is_done = self.place == Place::After || self.place == Place::Bare && json.is_empty();
                return if is_done { Ok(None) } else { Err(fail("the file ends within it")) };
            }
            let mut n_used = 0;
            let mut is_whole = false;
            for &byte in bytes {
                n_used += 1;
                match self.place {
                    Place::Before if byte == b'[' => self.place = Place::Inside,
                    Place::Before | Place::After if byte.is_ascii_whitespace() => {}
                    Place::Before | Place::After => return Err(fail("something stands beside the array")),
                    Place::Bare if json.is_empty() && byte != b'{' => {
                        if !byte.is_ascii_whitespace() {
                            return Err(fail("something stands between objects"));
                        }
                    }
                    Place::Inside | Place::Bare => match scan.step(byte) {
                        Step::Between if self.place == Place::Inside => is_whole = true,
                        Step::End => (is_whole, self.place) = (true, Place::After),
                        Step::Within | Step::Between => {
                            json.push(byte);
                            is_whole = self.place == Place::Bare && scan.is_outside();
                        }
                    },
                }
                if is_whole {
                    break;
                }
            }
            self.input.consume(n_used);
            if json.len() > MAX_LINE_BYTES {
                return Err(fail(&format!("has more than {} MiB", MAX_LINE_BYTES >> 20)));
            }
            if !is_whole {
                continue;
            }
            if !json.trim_ascii().is_empty() {
                self.element = element;
                return Ok(Some(Record { line: element, body: Body::Json(json), is_cut: false }));
            }
            if self.place == Place::Inside {
                return Err(fail("nothing stands before a comma"));
            }
            // An empty array, or a comma before its end.
            json.clear();
        }
    }
}

/// How deep in brackets, and whether in a text.
#[derive(Default)]
struct Scan {
    depth: usize,
    is_in_text: bool,
    is_escaped: bool,
}

enum Step {
    Within,
    Between,
    End,
}

impl Scan {
    fn is_outside(&self) -> bool {
        self.depth == 0 && !self.is_in_text
    }

    fn step(&mut self, byte: u8) -> Step {
        if self.is_in_text {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => self.is_in_text = false,
                _ => {}
            }
            return Step::Within;
        }
        match byte {
            b'"' => self.is_in_text = true,
            b'[' | b'{' => self.depth += 1,
            b']' | b'}' if self.depth > 0 => self.depth -= 1,
            b']' => return Step::End,
            b',' if self.depth == 0 => return Step::Between,
            _ => {}
        }
        Step::Within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, bytes: &[u8]) -> Result<Vec<(u64, String)>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let mut reader = Reader::open(&path, &BytesRead::default()).map_err(|error| error.to_string())?;
        let mut all = Vec::new();
        while let Some(record) = reader.next().map_err(|error| error.to_string())? {
            let text = match record.body {
                Body::Text(text) => text,
                Body::Json(json) => String::from_utf8_lossy(json.trim_ascii()).into_owned(),
                #[cfg(feature = "parquet")]
                Body::Row(row) => row.to_string(),
            };
            all.push((record.line, text));
        }
        Ok(all)
    }

    fn some(records: &[(u64, &str)]) -> Result<Vec<(u64, String)>, String> {
        Ok(records.iter().map(|(line, text)| (*line, (*text).to_owned())).collect())
    }

    #[test]
    fn texts_are_cut_at_marks() {
        let text = "one\n<|endoftext|>\n\n two \nthree<|endoftext|>four<|endoftext|><|endoftext|>\n";
        let documents = some(&[(1, "one"), (4, "two \nthree"), (5, "four")]);
        for name in ["a.txt", "a"] {
            assert_eq!(read(name, text.as_bytes()), documents);
        }
        assert_eq!(read("a.txt", b"\xef\xbb\xbf{\"no\": JSON}"), some(&[(1, "{\"no\": JSON}")]));
        assert_eq!(read("a.txt", b" \n "), some(&[]));
        assert_eq!(read("a", b""), some(&[]));
        let error = read("a.txt", b"fine\nbad \xff\n").unwrap_err();
        assert!(error.contains("a.txt`, line 2") && error.contains("byte 5"), "{error}");
        assert!(read("a.txt", b"\xff\xfea\0").unwrap_err().contains("UTF-16"));
    }

    #[test]
    fn what_follows_a_very_long_blank_line_is_read() {
        let text = format!("one\n<|endoftext|>\n{}\ntwo\n", " ".repeat(MAX_TEXT_BYTES));
        assert_eq!(read("a.txt", text.as_bytes()), some(&[(1, "one"), (4, "two")]));
    }

    #[test]
    fn a_very_long_text_is_cut_at_the_end_of_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("long.txt");
        let line = format!("{}\n", "word ".repeat(200));
        let text = line.repeat(2 * MAX_TEXT_BYTES / line.len());
        std::fs::write(&path, &text).unwrap();
        let mut reader = Reader::open(&path, &BytesRead::default()).unwrap();
        let (mut joined, mut n_cut) = (String::new(), 0);
        while let Some(Record { body: Body::Text(text), is_cut, .. }) = reader.next().unwrap() {
            n_cut += usize::from(is_cut);
            joined += &text;
            joined += "\n";
        }
        assert_eq!(n_cut, 1);
        assert!(joined.lines().map(str::trim).eq(text.lines().map(str::trim)));
    }

    #[test]
    fn json_is_cut_but_not_judged() {
        assert_eq!(read("a.jsonl", b"{\"a\": 1}\n\n {\"b\"\n"), some(&[(1, "{\"a\": 1}"), (3, "{\"b\"")]));
        assert_eq!(read("a.gz", b"{\"a\": 1}"), some(&[(1, "{\"a\": 1}")]));
        let array = b" [{\"a\": \"],[\\\"\"}, [1, {\"b\": 2}]\n,3]\n";
        assert_eq!(
            read("a.json", array),
            some(&[(1, "{\"a\": \"],[\\\"\"}"), (2, "[1, {\"b\": 2}]"), (3, "3")])
        );
        assert_eq!(read("a.json", b"[]"), some(&[]));
        assert_eq!(read("a.json", b"{\n\"a\": 1}\n{}"), some(&[(1, "{\n\"a\": 1}"), (2, "{}")]));
        for (bad, fact) in [("{\"a\": \"}", "ends within"), ("{} x", "between")] {
            assert!(read("a.json", bad.as_bytes()).unwrap_err().contains(fact));
        }
        for (bad, fact) in [("[1, 2", "ends within"), ("[1] 2", "beside"), ("[,1]", "nothing stands")] {
            let error = read("a.json", bad.as_bytes()).unwrap_err();
            assert!(error.contains(fact), "{error}");
        }
    }
}
