//! The end of a run: the model in every form asked for, its card and its report.

use puna_formats::{visible_path, write_file};
use puna_train::export::{About, TextSide, export};
use puna_train::run::{Run, read_metrics};
use puna_train::settings::Settings;
use puna_train::{Report, Schedule, Shape};

use super::sampler::SampleMaker;
use crate::failure::Failure;
use crate::output::note;
use crate::units::{clock_time, grouped};

/// Writes everything, and says what there is.
pub fn finish(run: &mut Run, sampler: &SampleMaker, text: &TextSide) -> Result<String, Failure> {
    let settings: Settings = run.settings().clone();
    if settings.validation.patience.is_some() && run.take_best()? {
        note(&format!("the model of step {} is written, which validated best", run.trainer().step));
    }
    let model = run.trainer().model.clone();
    let step = run.trainer().step;
    let samples = sampler.make(&model, step, &settings.samples.prompts).unwrap_or_default();
    let counts = run.counts();
    let mut facts = vec![
        ("steps".to_owned(), grouped(step as f64)),
        ("tokens".to_owned(), grouped(counts.n_tokens as f64)),
        ("time".to_owned(), clock_time(counts.elapsed_s)),
        ("optimizer".to_owned(), optimizer(&settings, run.trainer().recipe.n_steps)),
    ];
    facts.extend(
        counts
            .best_loss
            .map(|loss| ("best validation loss, nats per token".to_owned(), format!("{loss:.4}"))),
    );
    let paths: Vec<String> =
        settings.data.train.iter().map(|source| visible_path(&source.path).to_string()).collect();
    let about = About {
        name: settings.name.clone(),
        licence: settings.licence.clone(),
        data: paths.join(", "),
        run: facts,
        samples: settings.samples.prompts.iter().cloned().zip(samples).collect(),
    };
    write_report(run, &about)?;
    let tokens = run.some_tokens();
    let root = run.folder().root().to_owned();
    let written = export(run.cpu(), &model, &root, &settings.export, text, &about, &tokens)?;
    let mut said = String::new();
    for file in &written {
        said += &format!(
            "{}  {} weights, divergence {:.1e} nats per token\n",
            visible_path(&file.path),
            file.dtype.name(),
            file.divergence
        );
    }
    said += &format!("{}  curves, settings, samples\n", visible_path(&run.folder().report()));
    Ok(said + &format!("try: puna run -m {} \"Once upon a time\"\n", visible_path(&root)))
}

/// The page about the run.
fn write_report(run: &Run, about: &About) -> Result<(), Failure> {
    let (trainer, settings) = (run.trainer(), run.settings());
    let config = &trainer.model.config;
    let report = Report {
        name: about.name.clone(),
        about: format!(
            "A Llama of {} parameters, trained with Puna on {}.",
            grouped(config.n_params() as f64),
            about.data
        ),
        facts: about.run.clone(),
        settings: vec![
            ("model".into(), format!("{config:?}")),
            ("training".into(), format!("{:?}", trainer.recipe)),
            ("data".into(), format!("{:?}", settings.data)),
            ("validation".into(), format!("{:?}", settings.validation)),
            ("context".into(), format!("{:?}", settings.extensions)),
        ],
    };
    let page = report.page(&read_metrics(&run.folder().metrics()));
    Ok(write_file(&run.folder().report(), page.as_bytes())?)
}

/// The optimizer and its rate, in words.
fn optimizer(settings: &Settings, n_steps: u64) -> String {
    let Schedule { lr, final_lr_ratio, shape, .. } = settings.recipe.schedule;
    let n_warmup_steps = settings.recipe.schedule.warmup_of(n_steps);
    let shape = match shape {
        Shape::Cosine => format!("a cosine to {final_lr_ratio} of it"),
        Shape::StableDecay { decay_share } => {
            format!(
                "constant, and over the last {decay_share} of the steps linearly to {final_lr_ratio} of it"
            )
        }
        Shape::Constant => "constant".to_owned(),
    };
    format!("AdamW, learning rate {lr} after {n_warmup_steps} steps, {shape}")
}
