//! A mail server that keeps received mails.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::wait::eventually;

/// A mail as it came in.
#[derive(Clone, Debug)]
pub struct Mail {
    pub to: String,
    /// Headers and body.
    pub text: String,
    pub encrypted: bool,
}

/// Listens until the test process ends.
pub struct MailServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    tls: Option<Arc<ServerConfig>>,
    /// What to say to a connection.
    greet: Box<dyn Fn() -> &'static str + Send + Sync>,
    /// What to answer to a recipient.
    answer: Box<dyn Fn(&str) -> &'static str + Send + Sync>,
    mails: Mutex<Vec<Mail>>,
}

impl MailServer {
    /// Offers STARTTLS if `tls` is set, and responds to recipients as configured.
    pub fn start(
        tls: Option<Arc<ServerConfig>>,
        answer: impl Fn(&str) -> &'static str + Send + Sync + 'static,
    ) -> Self {
        Self::listen(tls, || "220 sink", answer)
    }

    /// Responds to connections as configured.
    pub fn start_greeting(greet: impl Fn() -> &'static str + Send + Sync + 'static) -> Self {
        Self::listen(None, greet, |_| "250 ok")
    }

    fn listen(
        tls: Option<Arc<ServerConfig>>,
        greet: impl Fn() -> &'static str + Send + Sync + 'static,
        answer: impl Fn(&str) -> &'static str + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            tls,
            greet: Box::new(greet),
            answer: Box::new(answer),
            mails: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&serving);
                thread::spawn(move || shared.serve(stream));
            }
        });
        Self { address, shared }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn mails(&self) -> Vec<Mail> {
        self.shared.mails.lock().unwrap().clone()
    }

    pub fn wait_for(&self, timeout: Duration, count: usize) -> Vec<Mail> {
        eventually(timeout, &format!("{count} mails"), || {
            Some(self.mails()).filter(|mails| mails.len() >= count)
        })
    }
}

impl Shared {
    /// Clients hang up whenever they like.
    fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let greeting = (self.greet)();
        write!(stream, "{greeting}\r\n").ok()?;
        if !greeting.starts_with("220") {
            return None;
        }
        if self.talk(&mut stream, false)? {
            let connection = ServerConnection::new(self.tls.clone()?).ok()?;
            self.talk(&mut StreamOwned::new(connection, stream), true)?;
        }
        Some(())
    }

    /// Whether the client has asked for encryption.
    fn talk(&self, stream: &mut (impl Read + Write), encrypted: bool) -> Option<bool> {
        let mut to = String::new();
        loop {
            let line = line(stream)?;
            let word = line.split([' ', ':']).next().unwrap_or_default();
            let answer = match word.to_ascii_uppercase().as_str() {
                "EHLO" if self.tls.is_some() && !encrypted => "250-sink\r\n250 STARTTLS",
                "RCPT" => {
                    to = line;
                    (self.answer)(&to)
                }
                "STARTTLS" => "220 go",
                "DATA" => "354 go",
                "QUIT" => return None,
                _ => "250 ok",
            };
            write!(stream, "{answer}\r\n").ok()?;
            match answer {
                "220 go" => return Some(true),
                "354 go" => {
                    let text = text(stream)?;
                    let to = std::mem::take(&mut to);
                    let mail = Mail {
                        to,
                        text,
                        encrypted,
                    };
                    self.mails.lock().unwrap().push(mail);
                    stream.write_all(b"250 taken\r\n").ok()?;
                }
                _ => {}
            }
            stream.flush().ok()?;
        }
    }
}

/// One byte at a time: nothing of what follows STARTTLS may be read ahead.
fn line(stream: &mut impl Read) -> Option<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\r\n") {
        stream.read_exact(&mut byte).ok()?;
        line.push(byte[0]);
    }
    Some(String::from_utf8_lossy(&line).trim_end().to_owned())
}

fn text(stream: &mut impl Read) -> Option<String> {
    let mut text = String::new();
    let mut lines = BufReader::with_capacity(1, stream).lines();
    loop {
        let line = lines.next()?.ok()?;
        if line == "." {
            return Some(text);
        }
        text.push_str(&line);
        text.push('\n');
    }
}
