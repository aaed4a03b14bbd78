//! `puna chat --web`: server and page for one person, in the browser of this machine.

use std::io::IsTerminal;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use puna_formats::visible;
use puna_serve::{Invitations, ServeOptions, ServedModel, Server};

use super::serve::{run_until, spawn};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::note;
use crate::terminal::wait_for_enter;

/// Taken if it is free: a browser keeps conversations for each port of its own.
const PORT: u16 = 11435;
/// How long a model keeps what it can make again while nobody asks it.
const SLEEP: Duration = Duration::from_secs(600);

/// Serves the model to a browser, which it opens, until Ctrl-C.
pub fn run(model: ServedModel) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
    let interrupt = Interrupt::catch();
    interrupt.catch_term();
    let invitations = Invitations::new().map_err(|error| failed(&error))?;
    let is_free = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).is_ok();
    let options = ServeOptions {
        port: if is_free { PORT } else { 0 },
        keys: vec![invitations.key().to_owned()],
        invitations: Some(invitations.clone()),
        sleep: Some(SLEEP),
        idle: None,
        log: false,
        ..ServeOptions::default()
    };
    let server = Server::new(vec![model], options).map_err(|error| failed(&error))?;
    let address = server.address().map_err(|error| failed(&error))?;
    server.notes().iter().for_each(|text| note(text));
    for (name, _) in server.models() {
        eprintln!("{} answers at http://{address}, in a browser of this machine", visible(&name));
    }
    let open = move || match invitations.invite() {
        Ok(link) => open_browser(&format!("http://{address}{link}")),
        Err(error) => note(&format!("no link can be made: {error}")),
    };
    open();
    let opens_again = std::io::stdin().is_terminal();
    eprintln!("Ctrl-C ends it{}", if opens_again { "; Enter opens another window" } else { "" });
    if opens_again {
        spawn("enter", move || {
            while wait_for_enter() {
                open();
            }
        })?;
    }
    run_until(server, interrupt)
}

/// Opens a link, or says what to open.
fn open_browser(link: &str) {
    if open::that_detached(link).is_err() {
        note(&format!("no browser was found here; open this link in one, which works once: {link}"));
    }
}
