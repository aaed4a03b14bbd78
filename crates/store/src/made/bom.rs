//! A bill of materials in CycloneDX's form (version 1.6, ECMA-424): what a model is made of, and every file's hash.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Made, MadeError, Parent, Part, failed, model_files};
use crate::name::is_safe_path;
use crate::pull::hex;
use crate::shelf::{Fault, sha256_of};

/// The most bytes of a bill.
const MAX_BYTES: u64 = 64 << 20;

/// Licences as SPDX spells them; others are told by their names.
const SPDX: [(&str, &str); 8] = [
    ("apache-2.0", "Apache-2.0"),
    ("mit", "MIT"),
    ("bsd-3-clause", "BSD-3-Clause"),
    ("bsd-2-clause", "BSD-2-Clause"),
    ("cc-by-4.0", "CC-BY-4.0"),
    ("cc-by-sa-4.0", "CC-BY-SA-4.0"),
    ("cc-by-nc-4.0", "CC-BY-NC-4.0"),
    ("cc0-1.0", "CC0-1.0"),
];

fn licence(id: &str, title: &str) -> Value {
    match SPDX.iter().find(|(known, _)| known.eq_ignore_ascii_case(id)) {
        Some((_, spdx)) => json!({"license": {"id": spdx}}),
        None => json!({"license": {"name": title}}),
    }
}

fn ancestor(parent: &Parent) -> Value {
    let mut value = json!({"type": "machine-learning-model", "name": parent.name});
    let named = match (parent.known(), &parent.licence) {
        (Some(known), _) => Some(licence(known.id(), known.title())),
        (None, Some(said)) => Some(licence(said, said)),
        (None, None) => None,
    };
    if let Some(named) = named {
        value["licenses"] = json!([named]);
    }
    let part = match parent.part {
        Part::Copy => "its weights, in another form",
        Part::Weights => "its weights, changed",
        Part::Outputs => "its outputs",
    };
    value["description"] = part.into();
    value
}

/// The bill of a model whose files have these hashes.
pub(super) fn text(made: &Made, hashes: &BTreeMap<String, String>) -> String {
    let licences: Vec<Value> = made.licences().iter().map(|(id, title)| licence(id, title)).collect();
    let files: Vec<Value> = (hashes.iter())
        .map(|(name, sha256)| {
            json!({"type": "file", "bom-ref": format!("file:{name}"), "name": name,
                "hashes": [{"alg": "SHA-256", "content": sha256}]})
        })
        .collect();
    let mut component = json!({
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": made.name,
        "description": made.how,
        "modelCard": {"modelParameters": {"task": "text-generation", "architectureFamily": "llama"}},
        "pedigree": {"ancestors": made.parents.iter().map(ancestor).collect::<Vec<_>>(), "notes": made.how},
    });
    if !licences.is_empty() {
        component["licenses"] = licences.into();
    }
    // One model has one number, however often its bill is written.
    let digest = Sha256::digest(json!([component, files]).to_string());
    let seconds = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    let time = humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    let tool = json!({"type": "application", "name": "puna", "version": env!("CARGO_PKG_VERSION")});
    let refs: Vec<String> = hashes.keys().map(|name| format!("file:{name}")).collect();
    let bill = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": format!("urn:uuid:{}", uuid(&digest)),
        "version": 1,
        "metadata": {
            "timestamp": time.to_string(),
            "tools": {"components": [tool]},
            "component": component,
        },
        "components": files,
        "dependencies": [{"ref": "model", "dependsOn": refs}],
    });
    let mut text = serde_json::to_string_pretty(&bill).unwrap_or_default();
    text.push('\n');
    text
}

/// A UUID of a hash (RFC 9562, version 8).
fn uuid(digest: &[u8]) -> String {
    let mut bytes: [u8; 16] = std::array::from_fn(|i| digest[i]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hex(&bytes);
    format!("{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..])
}

/// What a bill says, and which files are otherwise.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The model's name.
    pub name: String,
    /// Files that are as the bill says.
    pub n_right: usize,
    /// Files that are not, and files of the model that the bill does not name.
    pub faults: Vec<Fault>,
    /// The bill, as it was read: what a signature is of.
    pub text: Vec<u8>,
}

/// Compares a model, a folder or a file, with its bill of materials ([`bom_of`](super::bom_of)): the files that the bill names
/// with their hashes, and the model's with those that it names. `tell` is told of bytes read.
///
/// # Errors
/// If the bill cannot be read, or is none.
pub fn check_bom(model: &Path, mut tell: impl FnMut(u64)) -> Result<Checked, MadeError> {
    let path = &super::bom_of(model);
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut text));
    read.map_err(|error| failed("read", path, &error))?;
    let no_bill = |why: &str| MadeError(format!("cannot check by `{}`\n  {why}", path.display()));
    let bill: Value = serde_json::from_slice(&text).map_err(|error| no_bill(&error.to_string()))?;
    if bill["bomFormat"] != "CycloneDX" {
        return Err(no_bill("it is no bill of materials in CycloneDX's form"));
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let (mut n_right, mut faults) = (0, Vec::new());
    let mut named = BTreeSet::new();
    for file in bill["components"].as_array().into_iter().flatten().filter(|one| one["type"] == "file") {
        let name = file["name"].as_str().unwrap_or_default();
        let hashes = file["hashes"].as_array().into_iter().flatten();
        let want = hashes.filter(|hash| hash["alg"] == "SHA-256").find_map(|hash| hash["content"].as_str());
        let (true, Some(want)) = (is_safe_path(name), want) else {
            return Err(no_bill(&format!(
                "of the file `{name}` it says no SHA-256, or its name leads elsewhere"
            )));
        };
        let path = folder.join(name);
        named.insert(path.clone());
        match sha256_of(&path, &mut tell) {
            Ok((_, found)) if found.eq_ignore_ascii_case(want) => n_right += 1,
            Ok(_) => faults.push(Fault { path, what: "its content is another than the bill says".into() }),
            Err(error) => faults.push(Fault { path, what: error.to_string() }),
        }
    }
    if n_right + faults.len() == 0 {
        return Err(no_bill("it names no files"));
    }
    let own = model_files(model).map_err(|error| failed("read", model, &error))?;
    // A card may be written later, and is none of the model's.
    let is_more = |path: &PathBuf| !named.contains(path) && !path.ends_with("README.md");
    for path in own.into_iter().filter(is_more) {
        faults.push(Fault { path, what: "the bill does not name it".into() });
    }
    let name = bill["metadata"]["component"]["name"].as_str().unwrap_or_default().to_owned();
    Ok(Checked { name, n_right, faults, text })
}
