//! `puna train`: makes a model from text, or goes on with one.

mod counted;
mod curve;
mod finish;
mod line;
mod sampler;
mod screen;
mod setup;

use std::path::PathBuf;

use clap::Args;
use puna_formats::visible_path;
use puna_train::run::{Ended, Folder, Run};

use super::plan;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::{note, print};
use crate::run_settings::read_settings;
use line::Line;
use screen::Screen;
use setup::Setup;

/// Train a model: from nothing on a text, or a checkpoint further.
///
/// CONFIG is a YAML file, all of whose settings `crates/train/configs/stories.yaml` shows with comments; or simply the data: a
/// text file, JSON lines, or a folder of them, for a small model with settings that suit most. KEY=VALUE says a setting
/// otherwise (`model.depth=6`). Everything wrong with the settings is said at once, before anything is read.
///
/// The output folder gets the finished model as a Hugging Face folder and GGUF, with a report, metrics and states. Ctrl-C saves the
/// state and ends; with --resume the same command goes on, bit for bit as if it had never stopped, also after a crash.
#[derive(Args)]
#[command(after_help = "\
Examples:
  puna train stories.txt
  puna train stories.txt training.steps=2000 model.depth=6
  puna train stories.yaml output=run-2 schedule.lr=1e-3
  puna train stories.yaml --resume
  tensorboard --logdir stories-model/events")]
pub struct Train {
    /// A YAML file of settings, or the data
    #[arg(value_name = "CONFIG")]
    config: PathBuf,
    /// Settings in the place of those in the file
    #[arg(value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Go on with the run in the output folder
    #[arg(long)]
    resume: bool,
    /// Lines instead of a view of the whole terminal, as where standard error is no terminal
    #[arg(long)]
    plain: bool,
    /// Say what memory and time the run will take, and do not begin it
    #[arg(long, conflicts_with = "resume")]
    plan: bool,
}

impl Train {
    /// Runs the command.
    pub fn run(&self) -> Result<(), Failure> {
        if self.plan {
            return plan::say_plan(&self.config, &self.overrides);
        }
        let settings = read_settings(&self.config, &self.overrides)?;
        let folder = Folder::at(&settings.output);
        if let (Some(step), false) = (folder.steps().last(), self.resume) {
            return Err(Failure::Failed(format!(
                "`{}` holds a run already, of {step} steps\n  --resume goes on with it; output=FOLDER begins another one",
                visible_path(&settings.output)
            )));
        }
        let interrupt = Interrupt::catch();
        interrupt.catch_term();
        let setup = Setup::new(settings, &interrupt, self.resume)?;
        let text = setup.text_side()?;
        let mut watcher = Line::new(setup.sampler(), interrupt.clone());
        let mut run = setup.run()?;
        counted::lines(&run.data().report).iter().for_each(|line| note(line));
        if self.resume && !run.resume(&mut watcher)? {
            note("there is no saved state yet: the run begins at its beginning");
        }
        watcher.begin(&run);
        let ended = match Screen::fits() && !self.plain {
            false => run.go(&mut watcher)?,
            true => {
                let mut screen = Screen::begin(setup.sampler(), interrupt.clone(), &run);
                let ended = run.go(&mut screen);
                let notes = screen.notes().to_vec();
                drop(screen);
                notes.iter().for_each(|text| note(text));
                ended?
            }
        };
        self.say_end(&run, ended)?;
        print(&finish::finish(&mut run, &setup.sampler(), &text)?)
    }

    /// Says how the run ended; an error where the model is not to be written.
    fn say_end(&self, run: &Run, ended: Ended) -> Result<(), Failure> {
        let step = run.trainer().step;
        match ended {
            Ended::Stopped => {
                let words =
                    [self.config.to_string_lossy().into_owned()].into_iter().chain(self.overrides.clone());
                let words: Vec<String> = words.map(|word| shell_word(&word)).collect();
                let command = format!("puna train {} --resume", words.join(" "));
                note(&format!("stopped after step {step}; its state is saved\n  to go on: {command}"));
                return Err(Failure::Interrupted);
            }
            Ended::Early => note(&format!("validation no longer improves: the run ends after step {step}")),
            Ended::Finished => {}
        }
        Ok(())
    }
}

/// An argument as a shell takes it.
fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./=,:+".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}
