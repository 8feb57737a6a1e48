//! HTTPS at a router, as curl and our own commands speak it, and its certificate made anew.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use ranch_chaos::layout::free_ports;
use ranch_chaos::wait::until;
use ranch_chaos::{Layout, Ranch};
use tokio::process::{Child, Command};

use crate::LIMIT;
use crate::growing::Growing;
use crate::support::{BINARY, refusal, stdout};

/// A router that speaks HTTPS beside the one the harness speaks to.
struct Front {
    addr: SocketAddr,
    /// Where its certificate is, and the CA's.
    certs: PathBuf,
    _process: Child,
}

impl Front {
    async fn start(ranch: &Ranch) -> Self {
        let certs = ranch.dir().join("https");
        make(ranch, &certs).await;
        let addr = free_ports(1).unwrap()[0];
        let log = fs::File::create(ranch.dir().join("https.log")).unwrap();
        let process = Command::new(BINARY)
            .args(["router", "--listen", &addr.to_string(), "--config"])
            .arg(ranch.config())
            .env("RANCH_ROUTER_TLS_CERT", certs.join("router.crt"))
            .env("RANCH_ROUTER_TLS_KEY", certs.join("router.key"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let front = Self { addr, certs, _process: process };
        let probe = async || front.curl(&["/health/ready"]).await.ok().map(drop);
        until("HTTPS", LIMIT, probe).await.unwrap();
        front
    }

    fn ca(&self) -> String {
        self.certs.join("ca.crt").to_string_lossy().into_owned()
    }

    /// What curl is answered when it trusts the CA; a path is the last argument.
    async fn curl(&self, args: &[&str]) -> Result<String, String> {
        self.curl_by(&self.ca(), args).await
    }

    async fn curl_by(&self, ca: &str, args: &[&str]) -> Result<String, String> {
        let (path, flags) = args.split_last().unwrap();
        let url = format!("https://{}{path}", self.addr);
        let mut command = Command::new("curl");
        command.args(["-sS", "--fail-with-body", "--max-time", "20", "--cacert", ca]);
        let output = command.args(flags).arg(url).output().await.expect("curl is installed");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Our own commands, against this router.
    async fn ranch(
        &self,
        key: &str,
        url: &str,
        ca: Option<&str>,
        args: &[&str],
    ) -> std::process::Output {
        let mut command = Command::new(BINARY);
        command.args(args).env("RANCH_URL", url).env("RANCH_KEY", key);
        if let Some(ca) = ca {
            command.env("RANCH_CA", ca);
        }
        command.output().await.unwrap()
    }
}

/// Makes a CA and certificates of its own for HTTPS.
async fn make(ranch: &Ranch, dir: &Path) {
    let made = Command::new(BINARY)
        .args(["certs", "init", "--san", "ranch.example.org", "--dir"])
        .arg(dir)
        .arg("--config")
        .arg(ranch.config())
        .output()
        .await
        .unwrap();
    assert!(stdout(&made).contains("ca.key"));
}

#[tokio::test]
async fn clients_speak_https() {
    let (growing, key) = Growing::found(&Layout::default(), 3).await;
    let front = Front::start(&growing.ranch).await;
    let bearer = format!("Authorization: Bearer {key}");
    let path = "/api/v2/insert?p=notes&c=1.1.1/1.1.1/1.1.2";
    for (flags, version) in [
        (&["--http1.1"][..], "1.1"),
        (&["--http2"], "2"),
        (&["--http1.1", "--tls-max", "1.2"], "1.1"),
        (&["--http2", "--tlsv1.3"], "2"),
    ] {
        let all = ["-H", &bearer, "-d", "hay,", "-w", " %{http_version}"];
        let all: Vec<&str> = flags.iter().copied().chain(all).chain([path]).collect();
        let said = front.curl(&all).await;
        assert_eq!(said, Ok(format!("Inserted 4 bytes {version}")), "{flags:?}");
    }
    // Under another of its names.
    let named = format!("ranch.example.org:{}:127.0.0.1", front.addr.port());
    let url = format!("https://ranch.example.org:{}/health/live", front.addr.port());
    let ca = front.ca();
    let output = Command::new("curl")
        .args(["-sS", "--cacert", &ca, "--resolve", &named, &url])
        .output()
        .await
        .unwrap();
    assert!(stdout(&output).contains("ok"));
    // TLS 1.1 and an unknown CA are refused, plain HTTP is told.
    assert!(front.curl(&["--tls-max", "1.1", "/health/live"]).await.is_err());
    let system = Command::new("curl").args(["-sS", &url, "--resolve", &named]).output().await;
    assert!(!system.unwrap().status.success(), "nobody vouches for it but its CA");
    let plain = format!("http://{}/health/live", front.addr);
    let output = Command::new("curl").args(["-sS", "-i", &plain]).output().await.unwrap();
    let said = stdout(&output);
    assert!(said.contains("400 Bad Request") && said.contains("use https://"), "{said}");
    commands(&front, &key).await;
}

/// Our own commands.
async fn commands(front: &Front, key: &str) {
    let (https, ca) = (format!("https://{}", front.addr), front.ca());
    let read = ["read", "1.1.1/1.1.1/1.1.2", "--phext", "notes"];
    let output = front.ranch(key, &https, Some(&ca), &read).await;
    assert_eq!(stdout(&output), "hay,hay,hay,hay,");
    let bench = ["bench", "--clients", "2", "--seconds", "1", "--keys", "20"];
    stdout(&front.ranch(key, &https, Some(&ca), &bench).await);
    let said = refusal(&front.ranch(key, &https, None, &read).await);
    assert!(said.contains("--ca") && said.contains("not of a CA known here"), "{said}");
    let said = refusal(&front.ranch(key, &https, Some("/nonexistent/ca.crt"), &read).await);
    assert!(said.contains("/nonexistent/ca.crt"), "{said}");
    let http = format!("http://{}", front.addr);
    let said = refusal(&front.ranch(key, &http, None, &read).await);
    assert!(said.contains("use https://"), "{said}");
}

#[tokio::test]
async fn an_https_certificate_is_replaced_while_clients_speak() {
    let (growing, key) = Growing::found(&Layout::default(), 3).await;
    let ranch = &growing.ranch;
    let front = Front::start(ranch).await;
    let bearer = format!("Authorization: Bearer {key}");
    let next = ranch.dir().join("https.next");
    make(ranch, &next).await;
    let log = || fs::read_to_string(ranch.dir().join("https.log")).unwrap();
    // A key alone is not taken, and said to be missing its certificate.
    fs::copy(next.join("router.key"), front.certs.join("router.key")).unwrap();
    let probe = async || log().contains("does not belong to the certificate").then_some(());
    until("the mix-up to be told", LIMIT, probe).await.unwrap();
    front.curl(&["-H", &bearer, "/api/v2/version"]).await.expect("the old one is in use");
    fs::copy(next.join("router.crt"), front.certs.join("router.crt")).unwrap();
    let new_ca = next.join("ca.crt").to_string_lossy().into_owned();
    let probe = async || front.curl_by(&new_ca, &["/health/live"]).await.ok().map(drop);
    until("the new certificate", LIMIT, probe).await.unwrap();
    assert!(front.curl(&["/health/live"]).await.is_err(), "and the old one is not");
    // Many connections at once, each with a handshake of its own.
    let asks = (0..20).map(|_| front.curl_by(&new_ca, &["-H", &bearer, "/api/v2/version"]));
    for answer in futures_util::future::join_all(asks).await {
        answer.expect("each is answered");
    }
}
