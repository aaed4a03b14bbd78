//! Ending a text at a stop string, without ever showing the beginning of one.
//!
//! Text arrives in pieces. What might still become a stop string, the longest end of the text that is a
//! beginning of one, is held back until the next piece decides.

/// Watches a stream of text for stop strings.
#[derive(Clone, Debug, Default)]
pub struct StopStrings {
    stops: Vec<String>,
    held: String,
    /// The one that was found, by its place.
    found: Option<usize>,
}

impl StopStrings {
    /// Watches for each of `stops`; empty strings are ignored.
    pub fn new(stops: &[String]) -> StopStrings {
        let stops = stops.iter().filter(|stop| !stop.is_empty()).cloned().collect();
        StopStrings { stops, held: String::new(), found: None }
    }

    /// Adds a piece of text. Returns what may be shown, and whether a stop string was found: then the text
    /// ends before it, and nothing more should be pushed.
    pub fn push(&mut self, piece: &str) -> (String, bool) {
        self.held.push_str(piece);
        // The one that is complete first, so that it does not matter how the text was cut into pieces.
        let ends = self.stops.iter().enumerate();
        let ends = ends.filter_map(|(i, stop)| self.held.find(stop).map(|at| (at + stop.len(), at, i)));
        if let Some((_, at, i)) = ends.min() {
            self.found = Some(i);
            let mut text = std::mem::take(&mut self.held);
            text.truncate(at);
            return (text, true);
        }
        let rest = self.held.split_off(self.held.len() - self.undecided());
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// The stop string that was found.
    pub fn found(&self) -> Option<&str> {
        self.found.and_then(|i| self.stops.get(i)).map(String::as_str)
    }

    /// What was held back, when no more text comes.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Bytes of the longest end of the held text that is the beginning of a stop string.
    fn undecided(&self) -> usize {
        let longest = self.stops.iter().map(|stop| stop.len() - 1).max().unwrap_or(0);
        let starts = self.held.char_indices().map(|(at, _)| &self.held[at..]);
        let mut candidates = starts.filter(|end| end.len() <= longest);
        candidates.find(|end| self.stops.iter().any(|stop| stop.starts_with(end))).map_or(0, str::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything shown for the pieces, and whether it ended at a stop string.
    fn run(stops: &[&str], pieces: &[&str]) -> (Vec<String>, bool) {
        let stops: Vec<String> = stops.iter().map(|stop| stop.to_string()).collect();
        let mut watch = StopStrings::new(&stops);
        let mut shown = Vec::new();
        for piece in pieces {
            let (text, stopped) = watch.push(piece);
            shown.push(text);
            if stopped {
                return (shown, true);
            }
        }
        shown.push(watch.finish());
        (shown, false)
    }

    #[test]
    fn a_beginning_is_held_back_until_decided() {
        assert_eq!(
            run(&["END"], &["a E", "N", "x"]),
            (vec!["a ".into(), "".into(), "ENx".into(), "".into()], false)
        );
        assert_eq!(run(&["END"], &["a E", "N", "Dx"]), (vec!["a ".into(), "".into(), "".into()], true));
        assert_eq!(run(&["END"], &["a EN"]), (vec!["a ".into(), "EN".into()], false));
    }

    #[test]
    fn the_first_of_several_wins() {
        assert_eq!(run(&["c", "b"], &["abc"]), (vec!["a".into()], true));
        assert_eq!(run(&["bcd", "c"], &["ab", "c"]), (vec!["a".into(), "b".into()], true));
        assert_eq!(run(&["aab"], &["aa", "ab"]), (vec!["".into(), "a".into()], true));
    }

    #[test]
    fn characters_are_never_split() {
        assert_eq!(
            run(&["é!"], &["caf", "é", "?"]),
            (vec!["caf".into(), "".into(), "é?".into(), "".into()], false)
        );
        assert_eq!(run(&["\n\n"], &["x\n", "\ny"]), (vec!["x".into(), "".into()], true));
    }

    #[test]
    fn without_stops_text_passes() {
        assert_eq!(run(&[], &["a", "b"]), (vec!["a".into(), "b".into(), "".into()], false));
        assert_eq!(run(&[""], &["a"]), (vec!["a".into(), "".into()], false));
    }

    /// Any cut of a text gives the same result as the whole text at once.
    #[test]
    fn cuts_do_not_matter() {
        let text = "abababcabcabc éé";
        for stops in [&["abc"][..], &["babc", "cab"], &["éé"], &["zz"], &["ababc", "c"], &["bcab", "c"]] {
            let (whole, stopped) = run(stops, &[text]);
            for cut in (0..text.len()).filter(|cut| text.is_char_boundary(*cut)) {
                for second in (cut..text.len()).filter(|cut| text.is_char_boundary(*cut)) {
                    let got = run(stops, &[&text[..cut], &text[cut..second], &text[second..]]);
                    assert_eq!(
                        (got.0.concat(), got.1),
                        (whole.concat(), stopped),
                        "{stops:?} {cut} {second}"
                    );
                }
            }
        }
    }
}
