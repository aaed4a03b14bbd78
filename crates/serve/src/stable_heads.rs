//! Lines of a system prompt that differ in every request, taken out of what prompts have in common.
//!
//! Keys and values depend on all tokens before them: where a prompt's first line is another each time, nothing after
//! it is ever found again. So a line for the vendor's bill, which no model is meant to read, is left out, and a line
//! with the time of day is moved behind the rest of the system prompt. What follows the system prompt is still read
//! anew when such a line changes. This changes what the model reads, so it happens only where the server was told so.

use puna::{Content, ContentPart, Message};
use puna_wire::{Ask, Input};

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Its fields `name=value;` are left out.
    Dropped,
    /// It goes to the end, if it says a time of day: a date alone is the same all day.
    Moved,
}

/// How lines begin that differ in every request, in small letters.
const FORMS: [(&str, Fate); 7] = [
    // Claude Code since 2.1.36, in the first block of `system`:
    // `x-anthropic-billing-header: cc_version=2.1.332.7b4; cc_entrypoint=cli; cch=eb6c6;`
    ("x-anthropic-billing-header:", Fate::Dropped),
    // Home Assistant, in the first line: `Current time is 12:34:56. Today's date is 2026-11-30.`
    ("current time", Fate::Moved),
    ("the current time", Fate::Moved),
    // LangGraph's agents: `System time: 2026-11-30T12:34:56.789012+00:00`
    ("system time:", Fate::Moved),
    // What people write around a client's variable for the time, as in Open WebUI, Dify and n8n.
    ("current date and time", Fate::Moved),
    ("the current date and time", Fate::Moved),
    ("current datetime", Fate::Moved),
];

/// Takes such lines out of the system messages that a conversation begins with. Returns how many.
pub(crate) fn stabilise(ask: &mut Ask) -> usize {
    let Input::Chat(chat) = &mut ask.input else { return 0 };
    let n_system = chat.messages.iter().take_while(|message| message.role == "system").count();
    let mut texts: Vec<&mut String> = chat.messages[..n_system].iter_mut().flat_map(texts).collect();
    let (mut n_lines, mut moved) = (0, Vec::new());
    let n_texts = texts.len();
    for (i, text) in texts.iter_mut().enumerate() {
        n_lines += take_lines(text, i + 1 == n_texts, &mut moved);
    }
    if let Some(last) = texts.last_mut().filter(|_| !moved.is_empty()) {
        let rest = last.trim_end();
        let moved = moved.join("\n");
        **last = if rest.is_empty() { moved } else { format!("{rest}\n\n{moved}") };
    }
    // A message that was nothing else has nothing left to say.
    if n_lines > 0 {
        let mut i = 0;
        chat.messages.retain(|message| {
            i += 1;
            i > n_system || !message.text().is_empty()
        });
    }
    n_lines
}

fn texts<'m>(message: &'m mut Message) -> Vec<&'m mut String> {
    match &mut message.content {
        Some(Content::Text(text)) => vec![text],
        Some(Content::Parts(parts)) => {
            let text = |part: &'m mut ContentPart| match part {
                ContentPart::Text(text) => Some(text),
                ContentPart::Image(_) | ContentPart::Other(_) => None,
            };
            parts.iter_mut().filter_map(text).collect()
        }
        Some(Content::Json(_)) | None => Vec::new(),
    }
}

/// Takes lines out of a text, and adds those that move to `moved`. Where the text is the `last` one, lines at its end
/// stay: they are where they belong.
fn take_lines(text: &mut String, last: bool, moved: &mut Vec<String>) -> usize {
    let stays = if last { start_of_end(text) } else { text.len() };
    let (mut kept, mut n_lines) = (String::with_capacity(text.len()), 0);
    let mut is_after_taken = false;
    for line in text[..stays].split_inclusive('\n') {
        let own = line.trim();
        let rest = match fate(own) {
            Some(Fate::Dropped) => after_fields(own),
            Some(Fate::Moved) => {
                moved.push(own.to_owned());
                ""
            }
            // The empty line after it went with it.
            None if own.is_empty() && is_after_taken => continue,
            None => {
                is_after_taken = false;
                kept += line;
                continue;
            }
        };
        n_lines += 1;
        is_after_taken = true;
        if !rest.is_empty() {
            is_after_taken = false;
            kept += rest;
            kept.push('\n');
        }
    }
    if n_lines > 0 {
        kept += &text[stays..];
        *text = kept;
    }
    n_lines
}

/// Where the lines begin that move to the end and are there already.
fn start_of_end(text: &str) -> usize {
    let mut start = text.len();
    for line in text.split_inclusive('\n').rev() {
        let own = line.trim();
        if !own.is_empty() && fate(own) != Some(Fate::Moved) {
            break;
        }
        start -= line.len();
    }
    start
}

/// What becomes of a line, if it is one that differs in every request.
fn fate(line: &str) -> Option<Fate> {
    let begins = |form: &str| line.get(..form.len()).is_some_and(|head| head.eq_ignore_ascii_case(form));
    let (_, fate) = FORMS.iter().find(|(form, _)| begins(form))?;
    (*fate == Fate::Dropped || says_time(line)).then_some(*fate)
}

/// Whether there is a time of day in a line: `9:05`, `12:34:56`.
fn says_time(line: &str) -> bool {
    line.as_bytes().windows(4).any(|four| {
        let [hour, colon, ten, one] = four else { return false };
        *colon == b':' && [hour, ten, one].iter().all(|byte| byte.is_ascii_digit())
    })
}

/// What a line says after its first word and the fields `name=value;` that follow.
fn after_fields(line: &str) -> &str {
    let mut rest = line.split_once(':').map_or("", |(_, rest)| rest.trim_start());
    while let Some((field, more)) = rest.split_once(';') {
        if !field.contains('=') || field.contains(char::is_whitespace) {
            break;
        }
        rest = more.trim_start();
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use puna_wire::Chat;

    fn stable(messages: &[(&'static str, &str)]) -> (usize, Vec<String>) {
        let messages = messages.iter().map(|(role, text)| Message::new(*role, *text)).collect();
        let mut ask = Ask { input: Input::Chat(Chat { messages, ..Chat::default() }), ..Ask::default() };
        let n = stabilise(&mut ask);
        let Input::Chat(chat) = ask.input else { unreachable!() };
        (n, chat.messages.iter().map(Message::text).collect())
    }

    #[test]
    fn bills_are_left_out() {
        let head = "x-anthropic-billing-header: cc_version=2.1.332.7b4; cc_entrypoint=cli; cch=eb6c6;";
        let (n, texts) =
            stable(&[("system", &format!("{head}\n\nYou are a helper.\n\nDo.")), ("user", head)]);
        assert_eq!((n, &texts[0][..], &texts[1][..]), (1, "You are a helper.\n\nDo.", head));
        // In a message of its own, and with something behind it.
        assert_eq!(stable(&[("system", head), ("system", "Do."), ("user", "hi")]).1, ["Do.", "hi"]);
        assert_eq!(stable(&[("system", &format!("{head}You are.")), ("user", "hi")]).1, ["You are.\n", "hi"]);
        assert_eq!(stable(&[("system", &head[..27]), ("user", "hi")]), (1, vec!["hi".to_owned()]));
    }

    #[test]
    fn times_go_to_the_end() {
        let time = "Current time is 12:34:56. Today's date is 2026-11-30.";
        let (n, texts) = stable(&[("system", &format!("{time}\nYou are a helper.\n")), ("user", "hi")]);
        assert_eq!((n, &texts[0]), (1, &format!("You are a helper.\n\n{time}")));
        // There it stays, and so does what is no time of day, or no line of the system prompt.
        let end = format!("You are a helper.\n\n{time}");
        assert_eq!(stable(&[("system", &end), ("user", time)]), (0, vec![end.clone(), time.to_owned()]));
        let date = "Current date and time: Monday.\nSystem time: unknown\nThe time is 12:30";
        assert_eq!(stable(&[("system", date)]), (0, vec![date.to_owned()]));
        let two = "System time: 2026-11-30T12:34:56\nDo.\nthe current time is 9:05\n\nMore.";
        let want = "Do.\nMore.\n\nSystem time: 2026-11-30T12:34:56\nthe current time is 9:05";
        assert_eq!(stable(&[("system", two)]), (2, vec![want.to_owned()]));
        // Nothing of what is said later.
        assert_eq!(stable(&[("user", time), ("system", time)]).0, 0);
    }

    #[test]
    fn any_text_is_taken() {
        for text in
            ["", "\n", "x-anthropic-billing-header:", "x-anthropic-billing-header: ;=;", "é: 1:11", "é"]
        {
            stable(&[("system", text)]);
        }
    }
}
