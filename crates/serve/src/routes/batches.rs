//! Batches: begun, listed, cancelled.

use puna_wire::openai::{batches as wire, files as file_wire};
use puna_wire::{Kind, Problem};

use super::files::named;
use crate::answer::json;
use crate::app::App;
use crate::asked::{Asked, Handled};
use crate::batches::Batches;
use crate::files::owner;

/// The most batches of a page.
const MAX_PAGE: usize = 100;

fn batches(app: &App) -> Result<&Batches, Problem> {
    let hint = "this server keeps no files, and batches are files; start it with --files-dir DIR";
    app.batches.as_ref().ok_or_else(|| Problem::new(Kind::Request, hint))
}

pub(super) async fn create(asked: Asked) -> Handled {
    let ask = wire::read(&asked.body)?;
    Ok(json(&batches(&asked.app)?.create(asked.app.clone(), &asked.tenant, &ask)?))
}

pub(super) async fn list(asked: Asked) -> Handled {
    let all = batches(&asked.app)?.all(&owner(&asked.tenant));
    Ok(json(&file_wire::list(all, asked.uri.query().unwrap_or_default(), MAX_PAGE)?))
}

pub(super) async fn get(asked: Asked) -> Handled {
    let (owner, id) = named(&asked);
    Ok(json(&batches(&asked.app)?.get(&owner, &id)?))
}

pub(super) async fn cancel(asked: Asked) -> Handled {
    let (owner, id) = named(&asked);
    Ok(json(&batches(&asked.app)?.cancel(&owner, &id)?))
}
