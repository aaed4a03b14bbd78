//! What became of the data, in a few lines: nothing is left out in silence.

use puna_formats::visible_path;
use puna_train::{Counts, DataReport, LengthReport, SourceReport};

use crate::units::grouped;

/// A line for each source, and what was cut or left out for its length.
pub fn lines(report: &DataReport) -> Vec<String> {
    let sources = report.valid.iter().chain(&report.train).flat_map(of_source);
    sources.chain(of_lengths(&report.train_lengths)).collect()
}

fn of_source(source: &SourceReport) -> Vec<String> {
    let counts = &source.counts;
    let path = visible_path(&source.path);
    let [kept, read, tokens] = [counts.n_kept, counts.n_read, counts.n_tokens].map(|n| grouped(n as f64));
    let mut line = format!("`{path}`: {kept} of {read} samples, {tokens} tokens");
    if counts.n_trained < counts.n_tokens {
        line += &format!(", {} of them trained", grouped(counts.n_trained as f64));
    }
    if counts.n_valid > 0 {
        line += &format!("; {} samples kept back for validation", grouped(counts.n_valid as f64));
    }
    let left_out = left_out(counts);
    if !left_out.is_empty() {
        line += &format!("; left out: {}", left_out.join(", "));
    }
    if source.n_files_left_out > 0 {
        line += &format!("; {} files whose names do not say data were not read", source.n_files_left_out);
    }
    let mut lines = vec![line];
    let places = counts.untrained_at.iter().map(|place| format!("nothing is trained in {place}"));
    lines.extend(places.chain(counts.refused_at.iter().map(|place| format!("refused: {place}"))));
    if counts.n_open_turns > 0 {
        lines.push(format!(
            "{} answers end without a token that stops them: a model learns not to stop from these",
            grouped(counts.n_open_turns as f64)
        ));
    }
    lines
}

fn left_out(counts: &Counts) -> Vec<String> {
    let kinds = [
        (counts.empty, "empty"),
        (counts.untrained, "without a trained token"),
        (counts.refused, "refused"),
        (counts.exact, "repeated"),
        (counts.near, "nearly repeated"),
        (counts.language, "in another language"),
        (counts.contaminated, "shared with an evaluation set"),
    ];
    let kinds =
        kinds.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", grouped(n as f64)));
    let rules = counts.quality.iter().map(|(rule, n)| format!("{} by quality ({rule})", grouped(*n as f64)));
    kinds.chain(rules).collect()
}

fn of_lengths(lengths: &LengthReport) -> Option<String> {
    (lengths.n_too_long > 0).then(|| {
        let long = grouped(lengths.n_too_long as f64);
        match lengths.n_tokens_lost {
            0 => format!("{long} samples are longer than a sequence and were split; no token is lost"),
            lost => format!(
                "{long} samples are longer than a sequence; {} tokens were left out",
                grouped(lost as f64)
            ),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_out_is_said() {
        let counts = Counts {
            n_read: 9,
            n_kept: 5,
            n_tokens: 100,
            n_trained: 40,
            exact: 3,
            untrained: 1,
            untrained_at: vec!["a.jsonl:7".into()],
            ..Counts::default()
        };
        let source = SourceReport {
            path: "a.jsonl".into(),
            n_files: 1,
            n_files_left_out: 0,
            n_bytes: 1,
            counts,
            is_cached: false,
        };
        let lengths = LengthReport { n_too_long: 2, n_tokens_lost: 7, ..LengthReport::default() };
        let report = DataReport { train: vec![source], train_lengths: lengths, ..DataReport::default() };
        assert_eq!(
            lines(&report),
            [
                "`a.jsonl`: 5 of 9 samples, 100 tokens, 40 of them trained; left out: 1 without a trained token, \
                 3 repeated",
                "nothing is trained in a.jsonl:7",
                "2 samples are longer than a sequence; 7 tokens were left out",
            ]
        );
    }
}
