//! Chat templates in Go's language, which Ollama has beside its models.
//!
//! None is run here. Those that Ollama ships with Llamas print a generation's own format, which this program writes
//! itself: they are known by their fingerprints, whatever their blanks, which do not survive being copied about.

use super::ChatFormat;
use super::detect::fnv1a;

/// Fingerprints of these templates, and the formats that they print. Several generations have had more than one, and
/// the copies that people pass on have a word that is misspelt in the original put right.
const KNOWN: [(u64, ChatFormat); 12] = [
    (0x5f326c2f4bca5e4a, ChatFormat::Llama2),
    (0xb1c9bd61aae70da7, ChatFormat::Llama2),
    (0xbc228c3e0767aa45, ChatFormat::Llama3),
    (0xa7b3fb55e766e041, ChatFormat::Llama3),
    (0x48ec01cbdb2b654a, ChatFormat::Llama31),
    (0xe34871a53a007063, ChatFormat::Llama31),
    (0x3dd4eff88675c6a6, ChatFormat::Llama31),
    (0x4b1c1af9846848e1, ChatFormat::Llama31),
    (0x6751adc27fd2aef8, ChatFormat::Llama31),
    (0x97e4e7f1bddaa025, ChatFormat::Llama32),
    (0xd898ad32128540dc, ChatFormat::Llama32),
    (0x7d7255b802853078, ChatFormat::Llama32Vision),
];

impl ChatFormat {
    /// The format that a template in Go's language prints; `None` where it is not one of Ollama's for Llamas.
    pub fn of_go_template(text: &str) -> Option<ChatFormat> {
        let print = fingerprint(text);
        KNOWN.iter().find(|(known, _)| *known == print).map(|(_, format)| *format)
    }
}

/// FNV-1a, 64 bits, of the text without blanks, and without the signs that ask Go to cut blanks.
fn fingerprint(text: &str) -> u64 {
    let text = text.replace("{{-", "{{").replace("-}}", "}}");
    fnv1a(text.bytes().filter(|byte| !byte.is_ascii_whitespace()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LLAMA2: &str = "[INST] <<SYS>>{{ .System }}<</SYS>>\n\n{{ .Prompt }} [/INST]\n";
    const LLAMA3: &str = "{{ if .System }}<|start_header_id|>system<|end_header_id|>\n\n{{ .System }}<|eot_id|>{{ end \
        }}{{ if .Prompt }}<|start_header_id|>user<|end_header_id|>\n\n{{ .Prompt }}<|eot_id|>{{ end \
        }}<|start_header_id|>assistant<|end_header_id|>\n\n{{ .Response }}<|eot_id|>";

    #[test]
    fn known_templates_whatever_their_blanks() {
        assert_eq!(ChatFormat::of_go_template(LLAMA2), Some(ChatFormat::Llama2));
        assert_eq!(ChatFormat::of_go_template(LLAMA2.trim()), Some(ChatFormat::Llama2));
        assert_eq!(ChatFormat::of_go_template(LLAMA3), Some(ChatFormat::Llama3));
        let other =
            LLAMA3.replace("{{ if", "{{- if").replace("\n\n", "\r\n\r\n").replace("{{ end }}", "{{end}}");
        assert_eq!(ChatFormat::of_go_template(&other), Some(ChatFormat::Llama3));
    }

    #[test]
    fn templates_that_say_anything_else_are_not_known() {
        let others = [
            String::new(),
            "{{ .Prompt }}".to_owned(),
            LLAMA3.replace("{{ .System }}", "Be brief. {{ .System }}"),
            LLAMA3.replace("<|eot_id|>", "<|im_end|>"),
            LLAMA2.replace("[INST]", "[INST"),
        ];
        for text in others {
            assert_eq!(ChatFormat::of_go_template(&text), None, "{text}");
        }
    }
}
