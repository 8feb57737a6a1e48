//! Whatever is wrong with a request is said in one line, and nothing is stored.

use http::Method;
use ranch_chaos::ranch::ADMIN_KEY;

use crate::support::ranch_with;

/// Method, path and query below `/api/v2/`, body, the status, and what the answer must name.
type Case = (Method, &'static str, &'static [u8], u16, &'static str);

const GET: Method = Method::GET;
const POST: Method = Method::POST;
const PUT: Method = Method::PUT;

const OF_TENANTS: &[Case] = &[
    (GET, "select?p=bad&c=abc", b"", 400, "abc"),
    (GET, "select?p=bad&c=5", b"", 400, "5"),
    (GET, "select?p=bad&c=2.2.2", b"", 400, "2.2.2"),
    (POST, "insert?p=bad&c=1.1.1/1.1.1/1.1.0", b"x", 400, "1.1.1/1.1.1/1.1.0"),
    (POST, "insert?p=bad&c=1.1.1/1.1.1/1.1.-1", b"x", 400, "1.1.1/1.1.1/1.1.-1"),
    (POST, "insert?p=bad&c=1.1.1/1.1.1/1.1.4294967296", b"x", 400, "4294967296"),
    (POST, "insert?p=bad&c=1.1.1/1.1.1/1.1.1/1.1.1", b"x", 400, "1.1.1/1.1.1/1.1.1/1.1.1"),
    (POST, "insert?p=bad&c=../..", b"x", 400, "../.."),
    (POST, "update?p=bad&c=", b"x", 400, ""),
    (PUT, "write/1.1.1/1.1.1?p=bad", b"x", 400, "1.1.1/1.1.1"),
    (PUT, "write/1.1.1/1.1.1/1.1.1%00?p=bad", b"x", 400, ""),
    (GET, "read/%ff?p=bad", b"", 400, ""),
    (GET, "select?p=bad&c=%zz", b"", 400, ""),
    (POST, "insert?p=bad", b"a\x17b", 400, "0x17"),
    (POST, "insert?p=bad", b"a\x01b", 400, "0x01"),
    (POST, "insert?p=bad", b"a\xff", 400, "UTF-8"),
    (POST, "insert?p=../bad", b"x", 403, "Forbidden: Invalid phext path"),
    (POST, "insert?p=a/b", b"x", 403, "Forbidden: Invalid phext path"),
    (POST, "insert?p=a%5Cb", b"x", 403, "Forbidden: Invalid phext path"),
    (POST, "insert?p=a%07b", b"x", 400, ""),
    (GET, "list/1.1.1/1.1.1/1.1.1/1?p=bad", b"", 400, ""),
    (GET, "list/*?p=bad&limit=many", b"", 400, "limit"),
    (GET, "select?p=bad&consistency=often", b"", 400, "consistency"),
];

const OF_ADMINISTRATORS: &[Case] = &[
    (POST, "admin/tenants/add", b"", 400, ""),
    (POST, "admin/tenants/add", b"{", 400, ""),
    (POST, "admin/tenants/add", b"[]", 400, ""),
    (POST, "admin/tenants/add", b"{}", 400, "tenant_id"),
    (POST, "admin/tenants/add", br#"{"tenant_id":"Bad Id"}"#, 400, "tenant_id"),
    (POST, "admin/tenants/add", br#"{"tenant_id":"bad","quota_mb":-1}"#, 400, "quota_mb"),
    (POST, "admin/tenants/add", br#"{"tenant_id":"bad","key":"short"}"#, 400, "key"),
    (POST, "admin/tenants/add", br#"{"tenant_id":"bad","quota":1}"#, 400, "quota"),
    (GET, "admin/nonsense", b"", 404, ""),
];

#[tokio::test]
async fn bad_requests_are_named_and_change_nothing() {
    let (ranch, key) = ranch_with("will").await;
    for (key, cases) in [(key.as_str(), OF_TENANTS), (ADMIN_KEY, OF_ADMINISTRATORS)] {
        let mut client = ranch.client(Some(key));
        for (method, target, body, status, named) in cases {
            let path = format!("/api/v2/{target}");
            let answer = client.send(method.clone(), &path, &[], *body).await.unwrap();
            let text = answer.text();
            assert_eq!(answer.status, *status, "{method} {target}: {text}");
            assert!(text.contains(named), "{method} {target}: {text}");
            assert_eq!(text.lines().count(), 1, "{method} {target}: {text}");
        }
    }
    let mut client = ranch.client(Some(&key));
    let stored = client.get("/api/v2/list/*?p=bad").await.unwrap();
    assert_eq!(stored.text(), "");
    let health = client.get("/health").await.unwrap();
    let health: serde_json::Value = serde_json::from_slice(&health.body).unwrap();
    assert_eq!(health["scrolls"], 0, "{health}");
    problem_json(&mut client).await;
    too_large(&mut client).await;
}

async fn problem_json(client: &mut ranch_chaos::Client) {
    let headers = [("accept", "application/json")];
    let answer = client.send(GET, "/api/v2/select?c=abc", &headers, "").await.unwrap();
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((problem["status"].as_u64(), problem["field"].as_str()), (Some(400), Some("c")));
    assert!(problem["detail"].as_str().unwrap().contains("abc"), "{problem}");
    for part in ["type", "title"] {
        assert!(problem[part].is_string(), "{problem}");
    }
}

async fn too_large(client: &mut ranch_chaos::Client) {
    // Twice fits into the 64 MiB a scroll may have, three times does not.
    let most = 24 << 20;
    let at = "1.1.1/1.1.1/1.1.1";
    assert_eq!(client.write("large", at, "x".repeat(most)).await.unwrap().status, 200);
    // Appending cannot grow a scroll without end: what is refused leaves it as it was.
    for _ in 0..2 {
        let before = client.read("large", at).await.unwrap().body;
        let answer = client.insert("large", at, "y".repeat(most)).await.unwrap();
        if answer.status == 413 {
            assert_eq!(client.read("large", at).await.unwrap().body, before);
            return;
        }
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    panic!("a scroll of 72 MiB was accepted");
}
