//! Which files of many a model is.

use std::collections::HashSet;

use super::check::Check;

/// A file that is there.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub path: String,
    pub n_bytes: u64,
    pub check: Check,
}

/// Quantisations in the order in which they are taken where nobody says which: small, and good.
const PREFERRED: [&str; 10] =
    ["Q4_K_M", "Q4_K_S", "Q4_0", "IQ4_XS", "IQ4_NL", "Q5_K_M", "Q5_0", "Q6_K", "Q8_0", "BF16"];

/// Files beside weights that a model needs, or that say what may be done with it.
fn is_beside(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let starts = [
        "tokenizer",
        "license",
        "licence",
        "use_policy",
        "notice",
        "readme",
        "chat_template",
        "special_tokens",
    ];
    let is_named = matches!(
        name.as_str(),
        "config.json"
            | "generation_config.json"
            | "params.json"
            | "vocab.json"
            | "merges.txt"
            | "added_tokens.json"
            | "preprocessor_config.json"
            | "processor_config.json"
            | "quantize_config.json"
            | "hf_quant_config.json"
            | "adapter_config.json"
            | "modules.json"
            | "checklist.chk"
    );
    let is_bill = name.ends_with("cdx.json") || name.ends_with("cdx.json.minisig");
    is_named || is_bill || starts.iter().any(|start| name.starts_with(start)) && !is_weights(&name)
}

/// The files that a model is with what says what may be done with it and where it is from, and which of several were
/// taken. `pick` is a quantisation or a file.
pub(crate) fn choose<'l>(
    listed: &'l [Listed],
    pick: Option<&str>,
) -> Result<(Vec<&'l Listed>, Option<String>), String> {
    let (mut files, pick) = choose_weights(listed, pick)?;
    let names = names_of(files.iter().map(|file| file.path.as_str()));
    let is_of_one = |file: &&Listed| is_said_of(&file.path, &names);
    let mut chosen: HashSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    for file in texts(listed).chain(listed.iter().filter(is_of_one)) {
        if chosen.insert(&file.path) {
            files.push(file);
        }
    }
    Ok((files, pick))
}

/// The files of [`choose`], of the texts perhaps some.
fn choose_weights<'l>(
    listed: &'l [Listed],
    pick: Option<&str>,
) -> Result<(Vec<&'l Listed>, Option<String>), String> {
    let name_of = |file: &Listed| file.path.rsplit('/').next().unwrap_or_default().to_owned();
    let ends = |end: &'static str| move |file: &&Listed| file.path.ends_with(end);
    let in_root = |file: &&Listed| !file.path.contains('/');
    let ggufs: Vec<&Listed> = listed.iter().filter(ends(".gguf")).collect();
    let beside = || listed.iter().filter(in_root).filter(|file| is_beside(&file.path));
    let templates = || listed.iter().filter(|file| file.path.starts_with("additional_chat_templates/"));
    if let Some(pick) = pick {
        if let Some(file) = listed.iter().find(|file| file.path == pick) {
            return Ok((with_parts(listed, file), None));
        }
        let files = of_quantisation(&ggufs, pick);
        if files.is_empty() {
            let has: Vec<String> = quantisations(&ggufs);
            return Err(match has.is_empty() {
                true => format!("it has no file `{pick}`, and none in the form GGUF"),
                false => format!("it has nothing in `{pick}`\n  it has {}", has.join(", ")),
            });
        }
        return Ok((files.into_iter().chain(pictures(&ggufs)).collect(), None));
    }
    let weights: Vec<&Listed> = listed.iter().filter(in_root).filter(ends(".safetensors")).collect();
    let has_config =
        listed.iter().any(|file| file.path == "config.json" || file.path == "adapter_config.json");
    if has_config && !weights.is_empty() {
        // Some have all twice: as one file in Meta's names, and in parts in Hugging Face's.
        let is_metas = |file: &Listed| file.path.starts_with("consolidated");
        let has_both =
            weights.iter().any(|file| is_metas(file)) && !weights.iter().all(|file| is_metas(file));
        let weights = weights.into_iter().filter(|file| !(has_both && is_metas(file)));
        let index = listed.iter().filter(in_root).filter(ends(".safetensors.index.json"));
        return Ok((weights.chain(index).chain(beside()).chain(templates()).collect(), None));
    }
    if !ggufs.is_empty() {
        let has = quantisations(&ggufs);
        let preferred = PREFERRED.iter().find(|name| has.iter().any(|has| has.eq_ignore_ascii_case(name)));
        let (files, pick) = match preferred {
            Some(name) => (of_quantisation(&ggufs, name), Some((*name).to_owned())),
            None => {
                let models: Vec<&&Listed> = ggufs.iter().filter(|file| !is_pictures(file)).collect();
                let smallest =
                    models.iter().min_by_key(|file| file.n_bytes).ok_or("it has pictures' files alone")?;
                (with_parts(listed, smallest), Some(name_of(smallest)))
            }
        };
        let pick = pick.filter(|_| has.len() > 1);
        return Ok((files.into_iter().chain(pictures(&ggufs)).collect(), pick));
    }
    let of_meta = |file: &&Listed| {
        let name = name_of(file);
        name.starts_with("consolidated.") && name.ends_with(".pth")
    };
    if let Some(first) = listed.iter().find(of_meta) {
        let folder = first.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let same = |file: &&Listed| file.path.rsplit_once('/').map_or("", |(folder, _)| folder) == folder;
        let own = listed.iter().filter(same).filter(|file| of_meta(file) || is_beside(&name_of(file)));
        return Ok((own.collect(), None));
    }
    let pickled: Vec<&Listed> =
        listed.iter().filter(in_root).filter(|file| file.path.starts_with("pytorch_model")).collect();
    if has_config && !pickled.is_empty() {
        return Ok((pickled.into_iter().chain(beside()).chain(templates()).collect(), None));
    }
    let mut ends: Vec<String> =
        listed.iter().filter_map(|file| Some(format!(".{}", file.path.rsplit_once('.')?.1))).collect();
    ends.sort();
    ends.dedup();
    Err(format!("it holds no weights in a form of Puna's: its files end in {}", ends.join(", ")))
}

/// How what is said of one file begins: as it does, or as all of its parts do.
pub(crate) fn names_of<'p>(paths: impl Iterator<Item = &'p str>) -> HashSet<&'p str> {
    paths.flat_map(|path| [stem(path), path.strip_suffix(".gguf").unwrap_or(path)]).collect()
}

/// Whether a file says something of one of those whose names these are: `NAME.LICENSE`, `NAME.cdx.json`.
pub(crate) fn is_said_of(path: &str, names: &HashSet<&str>) -> bool {
    let is_said = |rest: &str| {
        let rest = rest.to_ascii_lowercase();
        let starts = ["license", "licence", "notice", "use_policy", "readme"];
        matches!(rest.as_str(), "cdx.json" | "cdx.json.minisig")
            || starts.iter().any(|start| rest.starts_with(start)) && !is_weights(&rest)
    };
    path.match_indices('.').any(|(at, _)| names.contains(&path[..at]) && is_said(&path[at + 1..]))
}

/// Whether a file holds weights, by its name.
pub(crate) fn is_weights(path: &str) -> bool {
    let name = path.to_ascii_lowercase();
    [".gguf", ".safetensors", ".bin", ".pth", ".pt"].iter().any(|end| name.ends_with(end))
}

/// Whether a file is the text of a licence.
pub(crate) fn is_licence(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let is_named = |word: &str| name.starts_with(word) || name.contains(&format!(".{word}"));
    ["license", "licence"].into_iter().any(is_named) && !is_weights(&name)
}

/// Licences, cards and the bill of a whole folder, which come along with any file.
fn texts(listed: &[Listed]) -> impl Iterator<Item = &Listed> {
    listed.iter().filter(|file| {
        let name = file.path.to_ascii_lowercase();
        let starts = ["license", "licence", "use_policy", "notice", "readme.md", "bom.cdx.json"];
        !name.contains('/') && !is_weights(&name) && starts.iter().any(|start| name.starts_with(start))
    })
}

fn is_pictures(file: &Listed) -> bool {
    file.path.to_ascii_lowercase().contains("mmproj")
}

/// What sees pictures beside a model, in the form that is most exact at half the size.
fn pictures<'l>(ggufs: &[&'l Listed]) -> Option<&'l Listed> {
    let all = || ggufs.iter().filter(|file| is_pictures(file));
    let halves = all().find(|file| file.path.to_ascii_lowercase().contains("f16"));
    halves.or(all().min_by_key(|file| file.n_bytes)).copied()
}

/// The files of a quantisation, all parts of the first that there is.
fn of_quantisation<'l>(ggufs: &[&'l Listed], name: &str) -> Vec<&'l Listed> {
    let is_it = |file: &&&Listed| {
        !is_pictures(file) && quantisation(&file.path).is_some_and(|own| own.eq_ignore_ascii_case(name))
    };
    let Some(first) =
        ggufs.iter().filter(is_it).min_by_key(|file| (file.path.matches('/').count(), &file.path))
    else {
        return Vec::new();
    };
    let stem = stem(&first.path);
    ggufs.iter().filter(|file| self::stem(&file.path) == stem).copied().collect()
}

fn quantisations(ggufs: &[&Listed]) -> Vec<String> {
    let mut all: Vec<String> =
        ggufs.iter().filter(|file| !is_pictures(file)).filter_map(|file| quantisation(&file.path)).collect();
    all.sort();
    all.dedup();
    all
}

/// A path without `.gguf` and the number of a part.
pub(crate) fn stem(path: &str) -> &str {
    let stem = path.strip_suffix(".gguf").unwrap_or(path);
    match stem.rsplit_once("-of-") {
        Some((before, count)) if count.len() == 5 && count.bytes().all(|byte| byte.is_ascii_digit()) => {
            before.rsplit_once('-').map_or(stem, |(before, _)| before)
        }
        _ => stem,
    }
}

/// The quantisation that a file's name ends in, for example `Q4_K_M` of `llama-3.2-1b-q4_k_m.gguf`.
pub(crate) fn quantisation(path: &str) -> Option<String> {
    let name = stem(path).rsplit('/').next()?.to_ascii_uppercase();
    let word = name.rsplit(['-', '.']).next()?;
    let starts = ["Q", "IQ", "TQ", "UD", "BF16", "F16", "F32", "FP16", "FP32", "MXFP4", "NVFP4"];
    let is_it =
        starts.iter().any(|start| word.starts_with(start)) && word.contains(|c: char| c.is_ascii_digit());
    is_it.then(|| word.to_owned())
}

/// A file and, where it is a part of several, the others.
fn with_parts<'l>(listed: &'l [Listed], file: &'l Listed) -> Vec<&'l Listed> {
    if !file.path.ends_with(".gguf") {
        return vec![file];
    }
    let own = stem(&file.path);
    listed.iter().filter(|other| other.path.ends_with(".gguf") && stem(&other.path) == own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(paths: &[&str]) -> Vec<Listed> {
        let file = |(i, path): (usize, &&str)| Listed {
            path: (*path).to_owned(),
            n_bytes: 10 + i as u64,
            check: Check::Unknown,
        };
        paths.iter().enumerate().map(file).collect()
    }

    fn chosen(paths: &[&str], pick: Option<&str>) -> (Vec<String>, Option<String>) {
        let listed = listed(paths);
        let (files, pick) = choose(&listed, pick).unwrap();
        let mut paths: Vec<String> = files.iter().map(|file| file.path.clone()).collect();
        paths.sort();
        (paths, pick)
    }

    #[test]
    fn of_several_forms_one_is_taken() {
        let all = [
            ".gitattributes",
            "LICENSE.txt",
            "README.md",
            "config.json",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
            "consolidated.safetensors",
            "original/consolidated.00.pth",
            "original/params.json",
            "original/tokenizer.model",
            "pytorch_model.bin",
            "tokenizer.json",
            "tokenizer.model",
            "onnx/model.onnx",
        ];
        let (files, pick) = chosen(&all, None);
        let want = [
            "LICENSE.txt",
            "README.md",
            "config.json",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
            "tokenizer.json",
            "tokenizer.model",
        ];
        assert_eq!((files, pick), (want.map(str::to_owned).to_vec(), None));
        let (files, _) = chosen(
            &["original/consolidated.00.pth", "original/params.json", "original/tokenizer.model"],
            None,
        );
        assert_eq!(files.len(), 3);
        assert_eq!(chosen(&["config.json", "pytorch_model.bin", "x.msgpack"], None).0.len(), 2);
        assert!(choose(&listed(&["a.onnx", "config.json"]), None).unwrap_err().contains(".onnx"));
    }

    #[test]
    fn of_several_quantisations_one_is_taken() {
        let all = [
            "README.md",
            "m-Q8_0.gguf",
            "m-Q4_K_M.gguf",
            "m-Q4_K_S.gguf",
            "m-mmproj-f16.gguf",
            "mmproj-F32.gguf",
            "BF16/m-BF16-00001-of-00002.gguf",
            "BF16/m-BF16-00002-of-00002.gguf",
        ];
        let (files, pick) = chosen(&all, None);
        assert_eq!(files, ["README.md", "m-Q4_K_M.gguf", "m-mmproj-f16.gguf"].map(str::to_owned));
        assert_eq!(pick.as_deref(), Some("Q4_K_M"));
        assert!(chosen(&all, Some("q8_0")).0.contains(&"m-Q8_0.gguf".to_owned()));
        assert_eq!(chosen(&all, Some("bf16")).0.iter().filter(|path| path.contains("-of-")).count(), 2);
        let (files, _) = chosen(&all, Some("BF16/m-BF16-00001-of-00002.gguf"));
        assert_eq!(files.len(), 3);
        assert!(choose(&listed(&all), Some("Q2_K")).unwrap_err().contains("Q4_K_M"));
    }

    #[test]
    fn what_is_said_of_a_file_comes_with_it() {
        let own = ["m.3-Q8_0.LICENSE", "m.3-Q8_0.Notice", "m.3-Q8_0.cdx.json", "m.3-Q8_0.cdx.json.minisig"];
        let others = ["m.3-Q4_0.LICENSE", "m.3-Q4_0.cdx.json", "m.3-Q4_0.gguf", "m.3-Q8_0.png"];
        let all = [&["LICENSE", "m.3-Q8_0.gguf"][..], &own, &others].concat();
        let mut want = [&["LICENSE", "m.3-Q8_0.gguf"][..], &own].concat();
        want.sort_unstable();
        for pick in ["Q8_0", "m.3-Q8_0.gguf"] {
            assert_eq!(chosen(&all, Some(pick)).0, want, "{pick}");
        }
        assert_eq!(chosen(&all, Some("LICENSE")).0, ["LICENSE"]);
        let licences: Vec<&str> = all.iter().copied().filter(|path| is_licence(path)).collect();
        assert_eq!(licences, ["LICENSE", "m.3-Q8_0.LICENSE", "m.3-Q4_0.LICENSE"]);
        // What is called like a text may be none, and parts have theirs by either name.
        let plates = ["license-plate-Q4_0.gguf", "license-plate-F16.gguf", "notice.bin"];
        assert_eq!(chosen(&plates, Some(plates[0])).0, [plates[0]]);
        let parts =
            ["a-00001-of-00002.cdx.json", "a-00001-of-00002.gguf", "a-00002-of-00002.gguf", "a.LICENSE"];
        assert_eq!(chosen(&parts, Some(parts[1])).0, parts);
    }
}
