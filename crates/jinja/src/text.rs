//! Strings that know who wrote each of their bytes.

use std::ops::Range;
use std::rc::Rc;

use crate::error::Error;
use crate::limits::{Charge, Meter};

/// What is known of a stretch of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// It comes from the input (messages, tools), not from the template.
    pub is_input: bool,
    /// It was printed within `{% generation %}`: what an assistant said.
    pub is_generated: bool,
}

impl Mark {
    /// Written by the template.
    pub const TEMPLATE: Mark = Mark { is_input: false, is_generated: false };
    /// From the input.
    pub const INPUT: Mark = Mark { is_input: true, is_generated: false };

    /// The mark of something that is made of both.
    pub(crate) fn with(self, other: Mark) -> Mark {
        Mark {
            is_input: self.is_input || other.is_input,
            is_generated: self.is_generated || other.is_generated,
        }
    }
}

/// A stretch of equal marks. A text has at most 4 GiB, so that of millions each takes eight bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    end: u32,
    pub mark: Mark,
}

impl Run {
    fn new(end: usize, mark: Mark) -> Result<Run, Error> {
        let end = u32::try_from(end).map_err(|_| Error::Limit("a text has more than 4 GiB".to_owned()))?;
        Ok(Run { end, mark })
    }

    /// Where it ends, in bytes from the beginning of the text.
    pub(crate) fn end(&self) -> usize {
        self.end as usize
    }
}

/// A string value.
#[derive(Debug, Clone)]
pub(crate) enum Text<'a> {
    /// Of the template or of the input.
    Borrowed(&'a str, Mark),
    /// Made while rendering.
    Owned(Rc<Owned>),
}

#[derive(Debug)]
pub(crate) struct Owned {
    text: String,
    /// Without neighbours of the same mark; empty for an empty text.
    runs: Vec<Run>,
    _charge: Charge,
}

impl<'a> Text<'a> {
    pub(crate) const EMPTY: Text<'static> = Text::Borrowed("", Mark::TEMPLATE);

    pub(crate) fn as_str(&self) -> &str {
        match self {
            Text::Borrowed(text, _) => text,
            Text::Owned(owned) => &owned.text,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.as_str().len()
    }

    /// The mark of the whole, as if it could not be taken apart.
    pub(crate) fn mark(&self) -> Mark {
        match self {
            Text::Borrowed(_, mark) => *mark,
            Text::Owned(owned) => owned.runs.iter().fold(Mark::TEMPLATE, |mark, run| mark.with(run.mark)),
        }
    }

    /// The stretches of equal marks within `range`, in order.
    pub(crate) fn runs(&self, range: Range<usize>) -> impl Iterator<Item = (&str, Mark)> {
        let (one, many) = match self {
            Text::Borrowed(text, mark) => (Some((&text[range.clone()], *mark)), None),
            Text::Owned(owned) => (None, Some(owned)),
        };
        let many = many.into_iter().flat_map(move |owned| {
            let first = owned.runs.partition_point(|run| run.end() <= range.start);
            let mut at = range.start;
            let end = range.end;
            owned.runs[first..].iter().map_while(move |run| {
                let begin = at;
                at = run.end().min(end);
                (begin < at).then(|| (&owned.text[begin..at], run.mark))
            })
        });
        one.into_iter().filter(|(text, _)| !text.is_empty()).chain(many)
    }

    /// Characters with their marks.
    pub(crate) fn chars(&self) -> impl Iterator<Item = (char, Mark)> {
        self.runs(0..self.len()).flat_map(|(text, mark)| text.chars().map(move |c| (c, mark)))
    }

    /// A part, by bytes. Parts of the template and of the input cost nothing.
    pub(crate) fn slice(&self, meter: &Rc<Meter>, range: Range<usize>) -> Result<Text<'a>, Error> {
        match self {
            Text::Borrowed(text, mark) => Ok(Text::Borrowed(&text[range], *mark)),
            Text::Owned(owned) if range == (0..owned.text.len()) => Ok(self.clone()),
            Text::Owned(_) => {
                let mut result = Writer::new(meter)?;
                result.push_part(self, range)?;
                Ok(result.finish())
            }
        }
    }

    /// The same text from `part`, which points into it.
    pub(crate) fn part(&self, meter: &Rc<Meter>, part: &str) -> Result<Text<'a>, Error> {
        let begin = part.as_ptr() as usize - self.as_str().as_ptr() as usize;
        self.slice(meter, begin..begin + part.len())
    }

    /// A text of one mark.
    pub(crate) fn new(meter: &Rc<Meter>, text: &str, mark: Mark) -> Result<Text<'a>, Error> {
        let mut result = Writer::new(meter)?;
        result.push(text, mark)?;
        Ok(result.finish())
    }
}

/// Text in the making. What it grows by is taken from the budget before it grows.
#[derive(Debug)]
pub(crate) struct Writer {
    text: String,
    runs: Vec<Run>,
    charge: Charge,
}

/// What a text takes besides its bytes.
const TEXT_BYTES: usize = 96;

/// What adding to a text takes in time beside its bytes, in bytes.
const PUSH_BYTES: usize = 8;

impl Writer {
    pub(crate) fn new(meter: &Rc<Meter>) -> Result<Writer, Error> {
        Ok(Writer { text: String::new(), runs: Vec::new(), charge: Charge::new(meter, TEXT_BYTES)? })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn push(&mut self, text: &str, mark: Mark) -> Result<(), Error> {
        if text.is_empty() {
            return Ok(());
        }
        self.charge.grow(text.len())?;
        self.charge.meter().written(PUSH_BYTES)?;
        self.text.push_str(text);
        let end = self.text.len();
        match self.runs.last_mut().filter(|run| run.mark == mark) {
            Some(run) => *run = Run::new(end, mark)?,
            None => {
                self.charge.grow(size_of::<Run>())?;
                self.runs.push(Run::new(end, mark)?);
            }
        }
        Ok(())
    }

    pub(crate) fn push_char(&mut self, c: char, mark: Mark) -> Result<(), Error> {
        self.push(c.encode_utf8(&mut [0; 4]), mark)
    }

    pub(crate) fn push_part(&mut self, text: &Text, range: Range<usize>) -> Result<(), Error> {
        text.runs(range).try_for_each(|(text, mark)| self.push(text, mark))
    }

    pub(crate) fn push_text(&mut self, text: &Text) -> Result<(), Error> {
        self.push_part(text, 0..text.len())
    }

    pub(crate) fn push_repeated(&mut self, text: &Text, times: usize) -> Result<(), Error> {
        // Taken at once, not after many of them.
        let room = Charge::new(self.charge.meter(), text.len().saturating_mul(times))?;
        let mut runs = text.runs(0..text.len());
        match (runs.next(), runs.next()) {
            (Some((text, mark)), None) => {
                drop(room);
                // Some at once, so that no copy of all of them is made.
                let n = (4096 / text.len()).clamp(1, times.max(1));
                let some = text.repeat(n);
                (0..times / n).try_for_each(|_| self.push(&some, mark))?;
                self.push(&some[..times % n * text.len()], mark)
            }
            (Some(_), Some(_)) => {
                drop(room);
                (0..times).try_for_each(|_| self.push_text(text))
            }
            _ => Ok(()),
        }
    }

    /// Everything from byte `from` on was said by an assistant.
    pub(crate) fn mark_generated(&mut self, from: usize) -> Result<(), Error> {
        let first = self.runs.partition_point(|run| run.end() <= from);
        if let Some(run) = self.runs.get(first).copied()
            && (first == 0 && from > 0 || first > 0 && self.runs[first - 1].end() < from)
        {
            self.charge.grow(size_of::<Run>())?;
            self.runs.insert(first, Run::new(from, run.mark)?);
        }
        let first = self.runs.partition_point(|run| run.end() <= from);
        self.runs[first..].iter_mut().for_each(|run| run.mark.is_generated = true);
        // Neighbours may be alike now.
        self.runs.dedup_by(|later, earlier| {
            let is_same = later.mark == earlier.mark;
            if is_same {
                earlier.end = later.end;
            }
            is_same
        });
        Ok(())
    }

    pub(crate) fn finish<'a>(self) -> Text<'a> {
        if self.text.is_empty() {
            return Text::EMPTY;
        }
        Text::Owned(Rc::new(Owned { text: self.text, runs: self.runs, _charge: self.charge }))
    }

    /// The text and its runs, out of the budget.
    pub(crate) fn into_parts(self) -> (String, Vec<Run>) {
        (self.text, self.runs)
    }
}
