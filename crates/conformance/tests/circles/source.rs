//! A Rust source file as words and signs, without comments, strings and tests.

/// A word or a sign of a source file. Numbers and literals are words of no meaning here.
pub type Token = String;

/// The tokens of a file. Comments, strings and characters are left out; `::` is one token.
pub fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        at += match rest {
            ['/', '/', ..] => rest.iter().take_while(|c| **c != '\n').count(),
            ['/', '*', ..] => block_comment_len(rest),
            ['"', ..] => string_len(rest),
            ['r' | 'b' | 'c', ..] if literal_len(rest).is_some() => literal_len(rest).unwrap_or(1),
            ['\'', ..] => char_len(rest),
            [':', ':', ..] => {
                tokens.push("::".to_owned());
                2
            }
            [c, ..] if is_word(*c) => {
                let word: String = rest.iter().take_while(|c| is_word(**c)).collect();
                let len = word.len();
                tokens.push(word);
                len
            }
            [c, ..] => {
                if !c.is_whitespace() {
                    tokens.push(c.to_string());
                }
                1
            }
            [] => unreachable!("the loop ends before"),
        };
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn block_comment_len(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// From a quote to the one that ends the string.
fn string_len(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// A raw, byte or C string or a byte character with its prefix; `None` where a plain word begins.
fn literal_len(rest: &[char]) -> Option<usize> {
    let prefix = rest.iter().take_while(|c| matches!(c, 'r' | 'b' | 'c')).count().min(2);
    let hashes = rest[prefix..].iter().take_while(|c| **c == '#').count();
    let body = prefix + hashes;
    match rest.get(body)? {
        '"' if rest[..prefix].contains(&'r') => {
            let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            let len = rest[body + 1..].windows(end.len()).position(|window| window == end)?;
            Some(body + 1 + len + end.len())
        }
        '"' if hashes == 0 => Some(prefix + string_len(&rest[prefix..])),
        '\'' if hashes == 0 && rest[0] == 'b' => Some(prefix + char_len(&rest[prefix..])),
        _ => None,
    }
}

/// A character; of a lifetime the quote alone, so that its name is a word.
fn char_len(rest: &[char]) -> usize {
    match rest {
        ['\'', '\\', ..] => 3 + rest[3..].iter().take_while(|c| **c != '\'').count(),
        ['\'', _, '\'', ..] => 3,
        _ => 1,
    }
}

/// The tokens without the items that only tests have, and the names of modules that only tests have.
pub fn without_tests(tokens: Vec<Token>) -> (Vec<Token>, Vec<String>) {
    let (mut kept, mut test_modules) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < tokens.len() {
        let len = attribute_len(&tokens[at..]);
        let attribute = &tokens[at..at + len];
        let has = |word: &str| attribute.iter().any(|token| token == word);
        if len > 0 && has("cfg") && has("test") && !has("not") {
            let item = at + len;
            let end = item + item_len(&tokens[item..]);
            if let Some(at) = tokens[item..end].iter().position(|token| token == "mod") {
                test_modules.push(tokens[item + at + 1].clone());
            }
            at = end;
        } else {
            kept.extend_from_slice(&tokens[at..at + len.max(1)]);
            at += len.max(1);
        }
    }
    (kept, test_modules)
}

/// The length of the attribute that begins here, or 0.
fn attribute_len(tokens: &[Token]) -> usize {
    match tokens {
        [hash, bracket, ..] if hash == "#" && bracket == "[" => 1 + group_len(&tokens[1..]),
        _ => 0,
    }
}

/// The length of an item with the attributes before it: up to its semicolon or the end of its braces.
fn item_len(tokens: &[Token]) -> usize {
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at].as_str() {
            ";" => return at + 1,
            "{" => return at + group_len(&tokens[at..]),
            "#" | "(" | "[" => at += group_len(&tokens[at..]).max(1),
            _ => at += 1,
        }
    }
    at
}

/// From an opening bracket to behind the one that closes it; 0 where there is none.
pub fn group_len(tokens: &[Token]) -> usize {
    let mut depth = 0;
    for (i, token) in tokens.iter().enumerate() {
        match token.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return if i == 0 { 0 } else { i + 1 };
        }
    }
    tokens.len()
}

#[test]
fn what_is_no_code_is_left_out() {
    let text = "use a::b; // use c\n/* use /* d */ */ fn e<'l>(x: &'l str) { r#\"use \"f\"#; b'x'; '\\''; \"\\\"g\" }";
    let expected = "use a :: b ; fn e < l > ( x : & l str ) { ; ; ; }";
    assert_eq!(tokens(text).join(" "), expected);
    let text =
        "#[cfg(test)] mod tests { use a; } use b; #[cfg(test)] #[x] mod more; #[cfg(not(test))] fn c() {}";
    let (kept, test_modules) = without_tests(tokens(text));
    assert_eq!(kept.join(" "), "use b ; # [ cfg ( not ( test ) ) ] fn c ( ) { }");
    assert_eq!(test_modules, ["tests", "more"]);
}
