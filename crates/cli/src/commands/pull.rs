//! `puna pull`: getting a model from elsewhere.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use puna_formats::{visible, visible_lines, visible_path};
use puna_store::made::{Checked, PublicKey, bom_of, check_bom, check_signature};
use puna_store::name::ModelName;
use puna_store::pull::{Agreement, Asker, Event, Places, PullError, PullErrorKind, Pulled};
use puna_store::shelf::{Shelf, Shelved};

use super::licence::summary;
use crate::environment::{path, shelf};
use crate::failure::Failure;
use crate::input;
use crate::interrupt::Interrupt;
use crate::names::{known_models, pulled_models};
use crate::output::{note, print};
use crate::progress::Transfer;
use crate::units;

/// Get a model from Hugging Face's hub, Ollama's registry or an address.
///
/// Only what the model needs is fetched, in parallel, and checked by its content; what was interrupted goes on where it
/// was. Of several quantisations Q4_K_M is taken, unless NAME says which. Before weights come, the licence is shown and
/// agreed to, once. The path of the model is printed; `puna list` shows it from then on.
///
/// Models lie in PUNA_MODELS [default: puna/models among your data]. HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE and the usual
/// variables for proxies are heeded.
#[derive(Args)]
#[command(after_help = "\
Examples:
  puna pull unsloth/Llama-3.2-1B-Instruct-GGUF
  puna pull bartowski/Llama-3.2-3B-Instruct-GGUF:Q6_K
  puna pull meta-llama/Llama-3.2-1B-Instruct          (gated: needs HF_TOKEN)
  puna pull ollama:llama3.2:3b
  puna pull 'https://example.org/model.gguf#sha256=...'
  puna pull 'https://download.llamameta.net/*?Policy=...#Llama3.2-1B'")]
pub struct Pull {
    /// `owner/name[@revision][:quantisation or file]`, `ollama:name[:tag]`, or an address
    #[arg(value_name = "NAME", add = known_models())]
    name: String,
    #[command(flatten)]
    how: PullArgs,
}

/// How models are pulled.
#[derive(Args, Debug)]
pub struct PullArgs {
    /// Accept the licence that comes with the model, without being asked
    #[arg(long, visible_alias = "accept-license")]
    accept_licence: bool,
    /// Leave the network alone: fail instead
    #[arg(long)]
    offline: bool,
}

impl Pull {
    /// Runs the command.
    pub fn run(&self) -> Result<(), Failure> {
        let name = ModelName::parse(&self.name).map_err(|error| Failure::Usage(error.to_string()))?;
        let path = self.how.pull(&name)?;
        print(&format!("{}\n", path.display()))
    }
}

impl PullArgs {
    /// Pulls a model, and says where it is.
    pub fn pull(&self, name: &ModelName) -> Result<PathBuf, Failure> {
        let shelf = shelf()?;
        let mut places = Places::of_environment(path);
        places.is_offline |= self.offline;
        let transfer = Arc::new(Transfer::new());
        let asker = Arc::new(Terminal { accepts: self.accept_licence, transfer: transfer.clone() });
        let interrupt = Interrupt::catch();
        interrupt.catch_term();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| Failure::Failed(format!("cannot start threads\n  {error}")))?;
        let result = runtime.block_on(async {
            let pull = puna_store::pull::pull(&shelf, &places, name, asker);
            tokio::pin!(pull);
            let mut ticks = tokio::time::interval(Duration::from_millis(100));
            loop {
                tokio::select! {
                    result = &mut pull => return Some(result),
                    _ = ticks.tick() => {
                        transfer.draw();
                        if interrupt.is_pressed() {
                            return None;
                        }
                    }
                }
            }
        });
        transfer.clear();
        runtime.shutdown_timeout(Duration::from_millis(200));
        let Some(result) = result else {
            note("interrupted; what came is kept, and the same command goes on with it");
            return Err(Failure::Interrupted);
        };
        let Pulled { path, was_here, unchecked, .. } = result.map_err(of_pull)?;
        shelf
            .claim(name, &path)
            .map_err(|error| Failure::Failed(format!("cannot note that it is yours\n  {error}")))?;
        for (file, sha256) in unchecked {
            let file = visible(&file).into_owned();
            note(&format!("nobody says what `{file}` should be; its SHA-256 is {sha256}"));
        }
        if was_here {
            note(&format!("`{name}` is here already"));
        }
        Ok(path)
    }
}

/// What the library says, and which flag or variable is behind it.
fn of_pull(error: PullError) -> Failure {
    let hint = match error.kind {
        PullErrorKind::Offline => "\n  --offline was given, or HF_HUB_OFFLINE is set",
        _ => "",
    };
    Failure::Failed(format!("{error}{hint}"))
}

/// Tells people what happens, and asks them.
struct Terminal {
    accepts: bool,
    transfer: Arc<Transfer>,
}

impl Asker for Terminal {
    fn tell(&self, event: Event) {
        match event {
            Event::Found { n_files, n_bytes, pick, .. } => {
                self.transfer.set_total(n_bytes);
                let bytes = if n_bytes > 0 { format!(", {}", units::bytes(n_bytes)) } else { String::new() };
                let files = units::things(n_files, "file");
                self.transfer.clear();
                match pick {
                    Some(pick) => note(&format!("of several, {} is taken: {files}{bytes}", visible(&pick))),
                    None => note(&format!("{files}{bytes}")),
                }
            }
            Event::File { n_bytes: None, .. } => self.transfer.set_total(0),
            Event::File { .. } | Event::Checked => {}
            Event::Bytes { n, .. } => self.transfer.add(n),
        }
    }

    fn accepts(&self, agreement: &Agreement) -> Result<(), String> {
        self.transfer.clear();
        let title = visible(&agreement.title).into_owned();
        let mut stderr = io::stderr().lock();
        let shown = match agreement.licence {
            Some(licence) => summary(licence),
            None => agreement.text.lines().take(20).fold(String::new(), |text, line| text + line + "\n"),
        };
        let _ = writeln!(stderr, "\n{}", visible_lines(&shown));
        if self.accepts {
            let _ = writeln!(stderr, "note: {title} is accepted by --accept-licence");
            return Ok(());
        }
        if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
            return Err(format!("its licence must be accepted: {title}\n  --accept-licence does so"));
        }
        loop {
            let _ = write!(stderr, "Do you accept the {title}? [y/N, t for its text] ");
            let _ = stderr.flush();
            let mut answer = String::new();
            match io::stdin().lock().read_line(&mut answer) {
                Ok(n) if n > 0 => {}
                _ => return Err(format!("its licence was not accepted: {title}")),
            }
            match answer.trim().to_lowercase().as_str() {
                "y" | "yes" => return Ok(()),
                "t" | "text" => {
                    let _ = writeln!(stderr, "\n{}", visible_lines(&agreement.text));
                }
                _ => return Err(format!("its licence was not accepted: {title}")),
            }
        }
    }
}

/// Check that models are as they were pulled, or as they were made.
///
/// Every file of a model of `puna pull` is read, and its SHA-256 compared with that which it had when it came; of
/// Ollama's models with that which their names say. A model's folder or file that has a bill of materials (`bom.cdx.json`,
/// or `NAME.cdx.json` beside `NAME.gguf`) is compared with that, and a signature of the bill (minisign's) is checked by --key.
#[derive(Args)]
#[command(after_help = "\
Examples:
  puna verify
  puna verify meta-llama/Llama-3.2-1B-Instruct
  puna verify my-model/ --key maker.pub")]
pub struct Verify {
    /// A model, as `puna list` calls it, or a folder or file [default: all that were pulled]
    #[arg(value_name = "NAME|PATH", add = pulled_models())]
    name: Option<String>,
    /// The maker's public key, a file or its line: the bill of materials must be signed with it
    #[arg(long, value_name = "KEY", requires = "name")]
    key: Option<String>,
}

impl Verify {
    /// Runs the command.
    pub fn run(&self) -> Result<(), Failure> {
        let made = self.name.as_deref().map(Path::new).filter(|path| path.exists());
        if let Some(path) = made.filter(|path| self.key.is_some() || bom_of(path).exists()) {
            return self.made(path);
        }
        if let Some(path) = made.filter(|path| path.is_file()) {
            return Err(Failure::Usage(format!(
                "`{}` has no bill of materials: there is no `{}`",
                visible_path(path),
                visible_path(&bom_of(path))
            )));
        }
        if self.key.is_some() {
            return Err(Failure::Usage("--key is for a folder or file with a bill of materials".into()));
        }
        let shelf = shelf()?;
        let models = pulled(&shelf, self.name.as_deref())?;
        if models.is_empty() {
            note(&format!("nothing was pulled to `{}`", visible_path(shelf.root())));
        }
        let transfer = Transfer::new();
        let mut n_faults = 0;
        for model in &models {
            let tell = |n: u64| {
                transfer.add(n as i64);
                transfer.draw();
            };
            let faults = shelf.verify(model, tell);
            transfer.clear();
            let faults = faults.map_err(Failure::Failed)?;
            for fault in &faults {
                print(&format!("{}: {}\n", visible_path(&fault.path), fault.what))?;
            }
            if faults.is_empty() {
                print(&format!("{}: as it was pulled\n", visible(&model.name)))?;
            }
            n_faults += faults.len();
        }
        match n_faults {
            0 => Ok(()),
            n => Err(Failure::Failed(format!(
                "{} not as pulled\n  `puna rm` and `puna pull` fetch them again",
                files_are(n)
            ))),
        }
    }

    /// Compares a model with its bill of materials.
    fn made(&self, path: &Path) -> Result<(), Failure> {
        let bill = bom_of(path);
        let key = self.key.as_deref().map(|key| {
            let text =
                if Path::new(key).is_file() { input::read_text(Path::new(key))? } else { key.to_owned() };
            PublicKey::read(&text).map_err(|error| Failure::Usage(error.to_string()))
        });
        let key = key.transpose()?;
        let transfer = Transfer::new();
        let checked = check_bom(path, |n| {
            transfer.add(n as i64);
            transfer.draw();
        });
        transfer.clear();
        let Checked { name, n_right, faults, text } =
            checked.map_err(|error| Failure::Failed(error.to_string()))?;
        for fault in &faults {
            print(&format!("{}: {}\n", visible_path(&fault.path), visible(&fault.what)))?;
        }
        if !faults.is_empty() {
            return Err(Failure::Failed(format!(
                "{} not as the bill of materials says",
                files_are(faults.len())
            )));
        }
        let signed = key.map(|key| check_signature(&bill, &text, &key)).transpose();
        let signed = signed.map_err(|error| Failure::Failed(error.to_string()))?;
        if signed == Some(None) {
            return Err(Failure::Failed(format!("`{}` is not signed", visible_path(&bill))));
        }
        let files = units::things(n_right, "file");
        print(&format!("{}: {files} as its bill of materials says\n", visible(&name)))?;
        match signed {
            Some(_) => print("its signature is right\n"),
            None => {
                note("whoever changes files can change the bill too: --key checks who signed it");
                Ok(())
            }
        }
    }
}

fn files_are(n: usize) -> String {
    if n == 1 { "1 file is".into() } else { format!("{n} files are") }
}

fn pulled(shelf: &Shelf, name: Option<&str>) -> Result<Vec<Shelved>, Failure> {
    let all = shelf.models();
    let Some(name) = name else { return Ok(all) };
    let found: Vec<Shelved> = all.into_iter().filter(|model| model.is_called(name)).collect();
    if found.is_empty() {
        return Err(Failure::Usage(format!(
            "no model `{}` was pulled\n  `puna list` shows all; those of other programs are theirs to check and to remove",
            visible(name)
        )));
    }
    Ok(found)
}

/// Remove a model that was pulled.
///
/// Models of other programs are never touched.
#[derive(Args)]
#[command(after_help = "\
Examples:
  puna rm unsloth/Llama-3.2-1B-Instruct-GGUF
  puna rm ollama:llama3.2:3b")]
pub struct Remove {
    /// The model, as it was pulled or as `puna list` calls it
    #[arg(value_name = "NAME", add = pulled_models())]
    name: String,
}

impl Remove {
    /// Runs the command.
    pub fn run(&self) -> Result<(), Failure> {
        let shelf = shelf()?;
        pulled(&shelf, Some(&self.name))?;
        let n_bytes = shelf.remove(&self.name).map_err(|error| Failure::Failed(error.to_string()))?;
        note(&format!("{} are free now", units::bytes(n_bytes)));
        Ok(())
    }
}

/// Remove what no model needs: versions that a newer one replaced, and what was not pulled to its end.
#[derive(Args)]
pub struct Gc {}

impl Gc {
    /// Runs the command.
    pub fn run(&self) -> Result<(), Failure> {
        let n_bytes = shelf()?.gc().map_err(|error| Failure::Failed(error.to_string()))?;
        note(&format!("{} are free now", units::bytes(n_bytes)));
        Ok(())
    }
}
