//! A Kafka with authentication, and certificates for it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

use tempfile::TempDir;

use crate::support::kafka::{Kafka, OwnKafka};
use crate::support::process::Launch;

/// The password of the users of these tests.
pub const PASSWORD: &str = "a-password-of-the-tests";

/// How users show who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// By a certificate.
    Tls,
    /// By a password (SCRAM-SHA-512).
    Scram,
}

impl Authentication {
    /// As in a KafkaUser.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Scram => "scram-sha-512",
        }
    }

    /// Of a user, as Strimzi has it.
    pub fn principal(self, user: &str) -> String {
        match self {
            Self::Tls => format!("User:CN={user}"),
            Self::Scram => format!("User:{user}"),
        }
    }
}

/// The broker, which the tests share, and the files that go with it.
pub struct SecureKafka {
    pub kafka: OwnKafka,
    files: TempDir,
}

impl SecureKafka {
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<SecureKafka> = OnceLock::new();
        SHARED.get_or_init(|| {
            let files = TempDir::new().expect("a folder");
            let authority =
                |name| openssl(&files, &["-x509", "-subj", &format!("/CN={name}")], name);
            for name in ["cluster-ca", "clients-ca", "another-ca"] {
                authority(name);
            }
            let signed = [
                "-x509",
                "-subj",
                "/CN=broker",
                "-CA",
                "cluster-ca.pem",
                "-CAkey",
                "cluster-ca.key",
            ];
            let names = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"];
            openssl(&files, &[&signed[..], &names].concat(), "broker");
            let file = |name: &str| fs::read_to_string(files.path().join(name)).expect("a file");
            fs::write(
                files.path().join("broker.pem"),
                file("broker.key") + &file("broker.pem"),
            )
            .expect("the file is written");
            let users = ROLES.map(|role| format!("{}={PASSWORD}", user(role)));
            let kafka = Kafka::secure(files.path(), &users);
            Self { kafka, files }
        })
    }

    /// Connection flags of a user.
    pub fn connect(&self, launch: Launch, user: &str, authentication: Authentication) -> Launch {
        match authentication {
            Authentication::Tls => {
                let (certificate, key) = self.certificate(user, "clients-ca");
                launch
                    .args(["-b", &self.kafka.address("tls")])
                    .arg("--tls-ca-file")
                    .arg(self.file("cluster-ca.pem"))
                    .arg("--tls-cert-file")
                    .arg(certificate)
                    .arg("--tls-key-file")
                    .arg(key)
            }
            Authentication::Scram => launch
                .args(["-b", &self.kafka.address("scram")])
                .args(["--sasl-mechanism", "SCRAM-SHA-512", "--sasl-username", user])
                .env("SUNDOWN_SASL_PASSWORD", PASSWORD),
        }
    }

    /// The certificate and the key of a user, signed by an authority; made when first asked for.
    pub fn certificate(&self, user: &str, authority: &str) -> (PathBuf, PathBuf) {
        static MAKING: Mutex<()> = Mutex::new(());
        let _alone = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("{user}-by-{authority}");
        let certificate = self.file(&format!("{name}.pem"));
        if !certificate.exists() {
            let subject = format!("/CN={user}");
            let (ca, key) = (format!("{authority}.pem"), format!("{authority}.key"));
            let signed = ["-x509", "-subj", &subject, "-CA", &ca, "-CAkey", &key];
            openssl(&self.files, &signed, &name);
        }
        (certificate, self.file(&format!("{name}.key")))
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }
}

/// Who has a KafkaUser.
pub const ROLES: [&str; 6] = [
    "tracker",
    "handler",
    "ingest",
    "controller",
    "console",
    "check",
];

/// The name of a role's KafkaUser, in a release called `site`.
pub fn user(role: &str) -> String {
    format!("site-sundown-{role}")
}

/// Makes `NAME.key` and `NAME.pem`.
fn openssl(folder: &TempDir, how: &[&str], name: &str) {
    let output = Command::new("openssl")
        .args([
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ])
        .args(["-nodes", "-days", "2"])
        .args(how)
        .args([
            "-keyout",
            &format!("{name}.key"),
            "-out",
            &format!("{name}.pem"),
        ])
        .current_dir(folder.path())
        .output()
        .unwrap_or_else(|error| panic!("openssl cannot be run: {error}; apt-get install openssl"));
    assert!(output.status.success(), "{output:?}");
}
