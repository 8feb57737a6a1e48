//! Programs people really use against a ranch: Python's `http.client`, curl, Node's agent with
//! keep-alive, and nginx in front with its defaults. Where one is missing its part is skipped
//! aloud; in CI python3 and curl must be there.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

use ranch_chaos::Ranch;

use crate::support::ranch_with;

/// Longest wait for nginx to listen.
const START_MAX: Duration = Duration::from_secs(10);

const PYTHON: &str = r#"
import http.client, os, sys
host, key = sys.argv[1], sys.argv[2]
c = http.client.HTTPConnection(host)
c.connect()
socket = c.sock
def ask(method, target, body=None, **headers):
    c.request(method, "/api/v2/" + target, body, {"Authorization": "Bearer " + key, **headers})
    answer = c.getresponse()
    return answer.status, answer.read().decode()
assert ask("POST", "update?p=py", "hello") == (200, "Updated 5 bytes")
for n in range(50):
    assert ask("GET", "select?p=py") == (200, "hello")
assert ask("POST", "insert?p=py", iter([b" in", b" chunks"]))[1] == "Inserted 10 bytes"
assert ask("GET", "get?p=py") == (200, "hello in chunks")
assert ask("GET", "select?p=py&c=nonsense")[0] == 400
assert ask("GET", "select?p=py") == (200, "hello in chunks")
assert c.sock is socket, "one connection all along"
status, text = ask("POST", "update?p=py", b"x" * (65 << 20))
assert status == 413, (status, text)
assert ask("GET", "select?p=py") == (200, "hello in chunks")
print("ok")
"#;

const NODE: &str = r#"
const http = require("http");
const [url, key] = process.argv.slice(1);
const agent = new http.Agent({ keepAlive: true, maxSockets: 2 });
const sockets = new Set();
const ask = (method, target, body) => new Promise((done, failed) => {
  const headers = { authorization: key };
  const request = http.request(url + "/api/v2/" + target, { method, agent, headers }, answer => {
    let text = "";
    answer.on("data", piece => text += piece).on("end", () => done(answer.statusCode + " " + text));
  });
  request.on("socket", socket => sockets.add(socket)).on("error", failed);
  // Without a length, so that Node sends chunks.
  if (body) request.write(body);
  request.end();
});
const expect = (said, expected) => { if (said !== expected) throw new Error(said); };
(async () => {
  expect(await ask("POST", "update?p=node", "hello"), "200 Updated 5 bytes");
  const reads = Array.from({ length: 100 }, () => ask("GET", "select?p=node"));
  for (const said of await Promise.all(reads)) expect(said, "200 hello");
  expect(await ask("DELETE", "delete?p=node"), "200 Removed 5 bytes");
  if (sockets.size > 2) throw new Error(sockets.size + " connections");
  agent.destroy();
  console.log("ok");
})().catch(error => { console.error(error); process.exit(1); });
"#;

/// Whether a program is there. In CI those that must be have to.
fn has(program: &str, must: bool) -> bool {
    let has = Command::new(program).arg("--version").output().is_ok();
    assert!(has || !must || std::env::var("CI").as_deref() != Ok("true"), "CI needs {program}");
    if !has {
        eprintln!("SKIPPED: {program} is not here");
    }
    has
}

#[track_caller]
fn is_ok(output: &Output) {
    let said = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!((said.trim(), output.status.success()), ("ok", true), "{error}");
}

#[tokio::test]
async fn programs_people_use() {
    let (ranch, key) = ranch_with("will").await;
    let addr = ranch.addr().to_string();
    if has("python3", true) {
        is_ok(&Command::new("python3").args(["-c", PYTHON, &addr, &key]).output().unwrap());
    }
    if has("node", false) {
        is_ok(&Command::new("node").args(["-e", NODE, &ranch.url(), &key]).output().unwrap());
    }
    if has("curl", true) {
        curl(&ranch, &key);
    }
    if has("nginx", false) {
        behind_nginx(&ranch, &key);
    }
}

/// curl asks first (`Expect: 100-continue`) when a body is large, and reads a refusal while it is
/// still sending one.
fn curl(ranch: &Ranch, key: &str) {
    let file = ranch.dir().join("large");
    fs::write(&file, vec![b'x'; 900_000]).unwrap();
    let huge = ranch.dir().join("huge");
    fs::File::create(&huge).unwrap().set_len(65 << 20).unwrap();
    let url = format!("{}/api/v2/update?p=curl", ranch.url());
    let auth = format!("X-SQ-API-Key: {key}");
    for (args, body, expected) in [
        (&["-H", "Expect: 100-continue"][..], &file, "Updated 900000 bytes 200"),
        (&["-H", "Transfer-Encoding: chunked"], &file, "Updated 900000 bytes 200"),
        (&["--http1.0"], &file, "Updated 900000 bytes 200"),
        (&["-H", "Expect: 100-continue"], &huge, " 413"),
        (&["-H", "Expect:"], &huge, " 413"),
    ] {
        let output = Command::new("curl")
            .args(["-s", "-w", " %{http_code}", "-H", &auth, "--data-binary"])
            .arg(format!("@{}", body.display()))
            .args(args)
            .arg(&url)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.ends_with(expected), "{args:?}: {said} {output:?}");
    }
}

/// nginx, ended when dropped.
struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// nginx speaks HTTP/1.0 to its upstream by default, and closes each connection.
fn behind_nginx(ranch: &Ranch, key: &str) {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let dir = ranch.dir().join("nginx");
    fs::create_dir_all(dir.join("tmp")).unwrap();
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = paths.map(|name| format!("{name}_temp_path tmp/{name};")).join(" ");
    let config = format!(
        "daemon off; master_process off; pid nginx.pid; error_log error.log;\n\
         events {{}}\n\
         http {{ access_log off; {temporary}\n\
         server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {}; }} }} }}\n",
        ranch.url()
    );
    fs::write(dir.join("nginx.conf"), config).unwrap();
    let child = Command::new("nginx")
        .args(["-p", &dir.to_string_lossy(), "-c", "nginx.conf", "-e", "error.log"])
        .spawn()
        .unwrap();
    let _nginx = Nginx(child);
    let started = Instant::now();
    while std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(started.elapsed() < START_MAX, "nginx listens");
        std::thread::yield_now();
    }
    // nginx itself refuses bodies over 1 MiB.
    let script = PYTHON.replace("65 << 20", "2 << 20");
    let addr = format!("127.0.0.1:{port}");
    is_ok(&Command::new("python3").args(["-c", &script, &addr, key]).output().unwrap());
}
