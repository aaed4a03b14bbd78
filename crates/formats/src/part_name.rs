//! Names of the parts of one model that was cut into several files: `model-00002-of-00005.gguf`.
//!
//! llama.cpp and Hugging Face use the same pattern: a prefix, the part's number from 1, the number of parts,
//! both with five digits, and the extension.

use std::path::{Path, PathBuf};

/// A path that follows the pattern, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartName {
    prefix: PathBuf,
    /// The number of this part, from 1.
    pub number: usize,
    /// The number of parts.
    pub count: usize,
    extension: String,
}

impl PartName {
    /// Takes a path apart, or returns `None` if its file name does not follow the pattern.
    pub fn parse(path: &Path) -> Option<PartName> {
        let name = path.file_name()?.to_str()?;
        let (stem, extension) = name.rsplit_once('.')?;
        let (rest, count) = stem.rsplit_once("-of-")?;
        let (prefix, number) = rest.rsplit_once('-')?;
        let (number, count) = (five_digits(number)?, five_digits(count)?);
        if number == 0 || number > count {
            return None;
        }
        Some(PartName { prefix: path.with_file_name(prefix), number, count, extension: extension.to_owned() })
    }

    /// The path of another part of the same model.
    pub fn sibling(&self, number: usize) -> PathBuf {
        let PartName { prefix, count, extension, .. } = self;
        let mut path = prefix.clone().into_os_string();
        path.push(format!("-{number:05}-of-{count:05}.{extension}"));
        path.into()
    }

    /// Whether two paths are parts of one model.
    pub fn same_model(&self, other: &PartName) -> bool {
        (&self.prefix, self.count, &self.extension) == (&other.prefix, other.count, &other.extension)
    }
}

fn five_digits(digits: &str) -> Option<usize> {
    let plain = digits.len() == 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_is_exact() {
        let part = PartName::parse(Path::new("a/llama-70b-00002-of-00003.gguf")).unwrap();
        assert_eq!((part.number, part.count), (2, 3));
        assert_eq!(part.sibling(3), Path::new("a/llama-70b-00003-of-00003.gguf"));
        assert!(part.same_model(&PartName::parse(&part.sibling(1)).unwrap()));
        for other in [
            "m-2-of-3.gguf",
            "m-00004-of-00003.gguf",
            "m-00000-of-00003.gguf",
            "m.gguf",
            "m-+0001-of-00003.x",
        ] {
            assert_eq!(PartName::parse(Path::new(other)), None, "{other}");
        }
    }
}
