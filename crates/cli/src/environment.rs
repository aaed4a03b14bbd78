//! What the environment says: variables, and where models are.

use std::ffi::OsString;
use std::path::PathBuf;

use puna::ModelPlaces;
use puna_store::shelf::Shelf;

use crate::failure::Failure;

/// An environment variable; one that is empty counts as not set.
pub fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The same of a path.
pub fn path(name: &str) -> Option<PathBuf> {
    environment(name).map(PathBuf::from)
}

/// The shelf of whoever runs this.
pub fn shelf() -> Result<Shelf, Failure> {
    Shelf::of_person(path).ok_or_else(|| {
        Failure::Failed(
            "there is no folder for models\n  neither PUNA_MODELS nor HOME is set: set PUNA_MODELS".into(),
        )
    })
}

/// Where models are looked for.
pub fn places() -> ModelPlaces {
    let mut places = ModelPlaces::of_other_programs(path);
    if let Some(shelf) = Shelf::of_person(path) {
        places.add_pulled(shelf.root());
    }
    places
}
