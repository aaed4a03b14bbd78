//! What is trained on.

use std::path::PathBuf;

use puna_formats::yaml::{Node, Section, Value};

use super::model::ModelSettings;
use super::paths::check_path;
use crate::data::{Cleaning, DataConfig, Labels, Order, Packing, Source, SourceKind, TextEnd, TooLong};

pub(super) fn read(top: &Section, model: &ModelSettings) -> DataConfig {
    let section = top.section("data");
    let defaults = DataConfig::default();
    let train = sources(&section, "train");
    if train.is_empty() && !section.has("train") {
        let fix = "name a file, a folder or a pattern: data: {train: stories.txt}";
        section.fault("train", "is missing", Some(fix.into()));
    }
    let valid = sources(&section, "valid");
    let valid_share =
        section.number("valid_share", "a number from 0 to below 1", |x| (0.0..1.0).contains(&x));
    if !valid.is_empty() && valid_share.is_some_and(|share| share > 0.0) {
        let fix = "leave out one of them".to_owned();
        section.fault("valid_share", "keeps samples back, though `data.valid` names some", Some(fix));
    }
    let context = match model {
        ModelSettings::New(new) => Some(new.config.max_seq_len),
        ModelSettings::From(_) => None,
    };
    let max_len = section.count("max_len", 2..=1 << 24).map(|n| n as usize);
    if let (Some(len), Some(context)) = (max_len, context)
        && len > context
    {
        let fact = format!("is {len}, longer than the model's context of {context}");
        section.fault("max_len", fact, Some(format!("say model.max_seq_len: {len}, or a shorter length")));
    }
    let packing = section.choice("packing", &[("samples", Packing::Samples), ("windows", Packing::Windows)]);
    if packing == Some(Packing::Windows) && section.has("too_long") {
        let fix = "leave it out".to_owned();
        section.fault("too_long", "has no meaning where windows cut every sample where they end", Some(fix));
    }
    let config = DataConfig {
        // Without validation there is no telling how well a run goes: a hundredth is kept back unless somebody
        // says otherwise.
        valid_share: valid_share.unwrap_or(if valid.is_empty() { 0.01 } else { 0.0 }),
        train,
        valid,
        max_len: max_len.or(context).unwrap_or(defaults.max_len),
        too_long: section
            .choice(
                "too_long",
                &[
                    ("split", TooLong::Split),
                    ("drop", TooLong::Drop),
                    ("truncate", TooLong::Truncate),
                    ("error", TooLong::Error),
                ],
            )
            .unwrap_or_default(),
        labels: section
            .choice("labels", &[("assistant", Labels::Assistant), ("all", Labels::All)])
            .unwrap_or_default(),
        packing: packing.unwrap_or_default(),
        order: section
            .choice("order", &[("shuffled", Order::Shuffled), ("as_read", Order::AsRead)])
            .unwrap_or_default(),
        text_end: section
            .choice("text_end", &[("eos", TextEnd::Eos), ("open", TextEnd::Open)])
            .unwrap_or_default(),
        date: section.text("date"),
        cleaning: cleaning(&section),
        ..defaults
    };
    if !config.train.is_empty() {
        config.check().iter().for_each(|fact| section.fault("", format!("cannot be: {fact}"), None));
    }
    section.finish();
    config
}

fn cleaning(section: &Section) -> Cleaning {
    let section = section.section("cleaning");
    let decontaminate = section.texts("decontaminate").unwrap_or_default();
    decontaminate.iter().for_each(|path| check_path(&section, "decontaminate", path));
    let cleaning = Cleaning {
        exact: section.truth("exact").unwrap_or(false),
        minhash: section.number("minhash", "a number above 0 and at most 1", |x| x > 0.0 && x <= 1.0),
        language: section.text("language"),
        quality: section.truth("quality").unwrap_or(false),
        decontaminate: decontaminate.into_iter().map(PathBuf::from).collect(),
    };
    section.finish();
    cleaning
}

/// A path, a list of paths, or a list of groups with a path and more.
fn sources(section: &Section, key: &'static str) -> Vec<Source> {
    let is_group = |node: &Node| matches!(node.value, Value::Map(_));
    let has_groups = match section.node(key).map(|node| &node.value) {
        Some(Value::List(nodes)) => nodes.iter().any(is_group),
        Some(Value::Map(_)) => true,
        _ => false,
    };
    if !has_groups {
        let paths = section.texts(key).unwrap_or_default();
        paths.iter().for_each(|path| check_path(section, key, path));
        return paths.into_iter().map(Source::new).collect();
    }
    section.sections(key).into_iter().filter_map(|section| source(section, key)).collect()
}

fn source(section: Section, key: &str) -> Option<Source> {
    if key == "valid" && section.has("weight") {
        section.fault("weight", "has no meaning for validation", Some("leave it out".into()));
    }
    let path = section.text("path");
    match &path {
        Some(path) => check_path(&section, "path", path),
        None if section.has("path") => {}
        None => section.fault("path", "is missing", Some("name a file, a folder or a pattern".into())),
    }
    let kinds = [
        ("auto", SourceKind::Auto),
        ("text", SourceKind::Text),
        ("chat", SourceKind::Chat),
        ("preference", SourceKind::Preference),
    ];
    let source = Source {
        weight: section.number("weight", "a number of at least 0", |x| x >= 0.0).unwrap_or(1.0),
        text_key: section.text("text_key"),
        kind: section.choice("kind", &kinds).unwrap_or_default(),
        ..Source::new(path.clone().unwrap_or_default())
    };
    section.finish();
    path.map(|_| source)
}
