//! The terminal while an answer is shown: words are wrapped, what is typed is not echoed.

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use unicode_width::UnicodeWidthChar;

/// The columns of the terminal that standard output is; `None` where it is none.
pub fn width() -> Option<usize> {
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let size = terminal_size::terminal_size_of(io::stdout()).filter(|_| !is_dumb)?;
    Some(usize::from(size.0.0))
}

/// Wraps words of a text that comes in pieces. Characters are shown at once; a word that turns out not to fit
/// is taken back and shown in the next line. Lines between ``` or ~~~ are left alone.
#[derive(Debug, Default)]
pub struct Wrapper {
    column: usize,
    /// What has been shown since the last place where a line may end.
    word: String,
    /// The beginning of the line.
    line: String,
    /// What closes the code that has been opened.
    code: Option<char>,
}

/// The characters of which a line that opens or closes code has three or more, after three blanks at most.
const FENCES: [char; 2] = ['`', '~'];

/// As much of a line as shows whether it opens or closes code.
const FENCE_LEN: usize = 6;

/// The character of the fence that `line` begins with.
fn fence(line: &str) -> Option<char> {
    let text = line.trim_start_matches(' ');
    let fence = FENCES.into_iter().find(|fence| text.starts_with(&fence.to_string().repeat(3)));
    fence.filter(|_| line.len() - text.len() <= 3)
}

/// A terminal of fewer columns is left to wrap by itself.
const LEAST_WIDTH: usize = 20;

impl Wrapper {
    /// What to show of `text` on a terminal of `width` columns.
    pub fn wrap(&mut self, text: &str, width: usize) -> String {
        // The last column stays free: a cursor behind it is at no place that terminals agree on.
        let width = width.saturating_sub(1);
        let mut out = String::with_capacity(text.len() + 8);
        for c in text.chars() {
            if c == '\n' {
                self.code = match (self.code, fence(&self.line)) {
                    (None, opened) => opened,
                    (open, closed) if closed == open => None,
                    (open, _) => open,
                };
                (self.column, self.word, self.line) = (0, String::new(), String::new());
                out.push(c);
                continue;
            }
            if self.line.len() < FENCE_LEN {
                self.line.push(c);
            }
            let columns = if c == '\t' { 8 - self.column % 8 } else { c.width().unwrap_or(0) };
            let is_free = self.code.is_some() || width < LEAST_WIDTH || fence(&self.line).is_some();
            if self.column + columns > width && !is_free {
                let word_columns: usize = self.word.chars().filter_map(|c| c.width()).sum();
                if c.is_whitespace() {
                    // The line's end takes the place of the blank.
                    out.push('\n');
                    (self.column, self.word) = (0, String::new());
                    continue;
                }
                if 0 < word_columns && word_columns < self.column {
                    out += &format!("\x1b[{word_columns}D\x1b[K\n{}", self.word);
                    self.column = word_columns;
                } else {
                    out.push('\n');
                    (self.column, self.word) = (0, String::new());
                }
            }
            out.push(c);
            self.column += columns;
            // Between wide characters a line may end, as in Chinese.
            if c.is_whitespace() || columns > 1 {
                self.word.clear();
            } else {
                self.word.push(c);
            }
        }
        out
    }
}

/// `text`, whose lines may be longer than the terminal is wide: each is wrapped, later parts with the indent
/// that the words behind its first gap have.
pub fn wrap_table(text: &str, width: usize) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let label_end = line.find("  ").unwrap_or(0);
        let gap = line[label_end..].len() - line[label_end..].trim_start().len();
        let indent = label_end + gap;
        let fits = |indent: usize| width > indent + LEAST_WIDTH;
        if line.chars().count() <= width || !fits(4) {
            out += line;
            out.push('\n');
            continue;
        }
        // Where the second column would be too narrow, it stands below the first.
        let (indent, mut current) = match fits(indent) {
            true => (indent, line[..indent].to_owned()),
            false => {
                out += line[..label_end].trim_end();
                out.push('\n');
                (4, " ".repeat(4))
            }
        };
        let mut is_first = true;
        for word in line[label_end + gap..].split_whitespace() {
            if !is_first && current.chars().count() + 1 + word.chars().count() > width {
                out += current.trim_end();
                out.push('\n');
                current = " ".repeat(indent);
                is_first = true;
            }
            if !is_first {
                current.push(' ');
            }
            current += word;
            is_first = false;
        }
        out += &current;
        out.push('\n');
    }
    out
}

/// While it lives, the terminal does not show what is typed, and keeps it. Ctrl-C works as always.
pub struct Quiet {
    #[cfg(unix)]
    _private: (),
}

#[cfg(unix)]
mod echo {
    use std::io::IsTerminal;
    use std::sync::Mutex;

    use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

    /// How the terminal was, while it is quiet. A fact about this process's only terminal, which a signal that
    /// ends the program has to bring back.
    static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

    /// How it was when a chat began: while a line is edited, the editor has changed it.
    static AT_FIRST: Mutex<Option<Termios>> = Mutex::new(None);

    pub fn remember() {
        *AT_FIRST.lock().unwrap_or_else(|error| error.into_inner()) = tcgetattr(std::io::stdin()).ok();
    }

    pub fn restore_at_first() {
        restore();
        let saved = AT_FIRST.lock().unwrap_or_else(|error| error.into_inner());
        if let Some(first) = saved.as_ref() {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, first);
        }
    }

    /// Whether it is quiet.
    pub fn is_off() -> bool {
        BEFORE.lock().unwrap_or_else(|error| error.into_inner()).is_some()
    }

    pub fn off() {
        let stdin = std::io::stdin();
        let Ok(before) = tcgetattr(&stdin) else { return };
        if !stdin.is_terminal() {
            return;
        }
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        // Ctrl-C would throw away what was typed ahead.
        quiet.local_modes.insert(LocalModes::NOFLSH);
        let mut saved = BEFORE.lock().unwrap_or_else(|error| error.into_inner());
        if saved.is_none() && tcsetattr(&stdin, OptionalActions::Now, &quiet).is_ok() {
            *saved = Some(before);
        }
    }

    pub fn restore() {
        let mut saved = BEFORE.lock().unwrap_or_else(|error| error.into_inner());
        if let Some(before) = saved.take() {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &before);
        }
    }
}

impl Quiet {
    /// From now on, where standard input is a terminal.
    pub fn begin() -> Quiet {
        #[cfg(unix)]
        echo::off();
        Quiet {
            #[cfg(unix)]
            _private: (),
        }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        #[cfg(unix)]
        echo::restore();
    }
}

/// The beginning of a text that takes at most `width` columns.
pub fn cut_to(text: &str, width: usize) -> &str {
    let mut n_columns = 0;
    let end = text.char_indices().find(|(_, c)| {
        n_columns += c.width().unwrap_or(0);
        n_columns > width
    });
    end.map_or(text, |(at, _)| &text[..at])
}

/// Whether the terminal shows its other screen. A fact about this process's only terminal, which a signal that ends the
/// program has to bring back.
static IS_FULL: AtomicBool = AtomicBool::new(false);

/// While it lives, the terminal shows its other screen, which the program draws as a whole; afterwards it is as it was.
pub struct FullScreen {
    _private: (),
}

const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

impl FullScreen {
    /// From now on. A panic leaves it before it is said.
    pub fn enter() -> FullScreen {
        let said = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            leave_full();
            said(panic);
        }));
        IS_FULL.store(true, SeqCst);
        write_all(ENTER);
        FullScreen { _private: () }
    }

    /// Shows these lines, from the top.
    pub fn show(&mut self, lines: &[String]) {
        if IS_FULL.load(SeqCst) {
            let page: Vec<String> = lines.iter().map(|line| format!("\x1b[K{line}")).collect();
            // As one write, so that nothing half drawn is seen.
            write_all(&format!("\x1b[H{}\x1b[J", page.join("\r\n")));
        }
    }
}

impl Drop for FullScreen {
    fn drop(&mut self) {
        leave_full();
    }
}

fn leave_full() -> bool {
    let was_full = IS_FULL.swap(false, SeqCst);
    if was_full {
        write_all(LEAVE);
    }
    was_full
}

fn write_all(text: &str) {
    let mut stderr = io::stderr().lock();
    // A terminal that is gone shows nothing.
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

/// Remembers how the terminal is, for [`restore`].
pub fn remember() {
    #[cfg(unix)]
    echo::remember();
}

/// Brings the terminal back to how it was. To be called before the program is ended from outside.
#[cfg(unix)]
pub fn restore() {
    leave_full();
    echo::restore_at_first();
}

/// Stops the program by `stop`, and lets the terminal be as it was meanwhile.
#[cfg(unix)]
pub fn while_stopped(stop: impl FnOnce()) {
    let is_quiet = echo::is_off();
    echo::restore();
    let was_full = leave_full();
    stop();
    if was_full {
        IS_FULL.store(true, SeqCst);
        write_all(ENTER);
    }
    if is_quiet {
        echo::off();
    }
}

/// Waits until Enter is pressed on the terminal that standard input is; false where no more comes from there. What is typed
/// while the program is in the background is its shell's: whoever reads there is stopped.
pub fn wait_for_enter() -> bool {
    #[cfg(unix)]
    foreground::wait_for_line();
    let mut keys = io::stdin().lock();
    // Enter pressed several times at once counts once.
    let n_read = keys.fill_buf().map_or(0, <[u8]>::len);
    keys.consume(n_read);
    n_read > 0
}

#[cfg(unix)]
mod foreground {
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::io::Errno;
    use rustix::process::getpgrp;
    use rustix::termios::tcgetpgrp;

    /// How often a program in the background looks whether what is typed is for it now.
    const LOOK: Duration = Duration::from_millis(500);

    /// Returns when there is something to read and nobody is stopped for reading it.
    pub fn wait_for_line() {
        let stdin = std::io::stdin();
        loop {
            match poll(&mut [PollFd::new(&stdin, PollFlags::IN)], None) {
                Err(Errno::INTR) => continue,
                Err(_) => return,
                Ok(_) => {}
            }
            match tcgetpgrp(&stdin) {
                Ok(group) if group != getpgrp() => std::thread::sleep(LOOK),
                // A terminal that is nobody's, or gone, stops no reader.
                _ => return,
            }
        }
    }
}

/// Whether people read standard output as it comes.
pub fn is_shown() -> bool {
    io::stdout().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands on a terminal after these pieces: the escapes that are used are carried out.
    fn screen(pieces: &[&str], width: usize) -> String {
        let mut wrapper = Wrapper::default();
        let shown: String = pieces.iter().map(|piece| wrapper.wrap(piece, width)).collect();
        let mut screen = String::new();
        let mut rest = shown.as_str();
        while let Some(at) = rest.find("\x1b[") {
            screen += &rest[..at];
            let (n, after) = rest[at + 2..].split_once("D\x1b[K").unwrap();
            for _ in 0..n.parse().unwrap() {
                screen.pop();
            }
            rest = after;
        }
        screen + rest
    }

    #[test]
    fn texts_are_cut_by_columns() {
        assert_eq!(
            ["llama", "ラマの草原", "a\u{301}bc"].map(|text| cut_to(text, 3)),
            ["lla", "ラ", "a\u{301}bc"]
        );
        assert_eq!(cut_to("ab", 5), "ab");
    }

    #[test]
    fn words_are_wrapped_as_they_come() {
        let text = "the quick brown fox jumps over the lazy dog and runs";
        let want = "the quick brown fox \njumps over the lazy dog \nand runs";
        for size in 1..text.len() {
            let pieces: Vec<&str> =
                text.as_bytes().chunks(size).map(|part| std::str::from_utf8(part).unwrap()).collect();
            assert_eq!(screen(&pieces, 25), want, "{size}");
        }
        // A word longer than a line, lines that end by themselves, code, and a terminal too narrow for all this.
        assert_eq!(screen(&[&"x".repeat(50)], 25), [&"x".repeat(24)[..], &"x".repeat(24), "xx"].join("\n"));
        assert_eq!(screen(&["a b\nc d"], 25), "a b\nc d");
        let code =
            "```\na line of code that is long enough to be wrapped\n```\nand then some more text again";
        for fence in ["```", "~~~", "  ```", "````"] {
            let code = code.replace("```", fence);
            assert_eq!(screen(&[&code], 25), code.replace("again", "\nagain"));
        }
        let nested = code.replace("\n```\n", "\n~~~\nstill a line of code, and a long one at that\n```\n");
        assert_eq!(screen(&[&nested], 25), nested.replace("again", "\nagain"));
        assert_eq!(screen(&[text], 12), text);
        // Wide characters count twice, and a line may end between them.
        assert_eq!(screen(&["汉字汉字汉字汉字汉字汉字汉"], 25), "汉字汉字汉字汉字汉字汉字\n汉");
    }

    #[test]
    fn tables_are_wrapped_in_their_second_column() {
        let table =
            "/set NAME VALUE  change how answers are made, and more words that make it long\n/help  this\n";
        assert_eq!(wrap_table(table, 200), table);
        for width in [30, 40, 50] {
            let wrapped = wrap_table(table, width);
            assert!(wrapped.lines().all(|line| line.chars().count() <= width), "{width}: {wrapped}");
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(words(&wrapped), words(table));
        }
    }
}
