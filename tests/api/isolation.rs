//! Tenants at random, requests at random: no answer to one holds a byte of another.

use http::Method;

use crate::support::ranch_with;

const REQUESTS: usize = 1_200;
const PHEXTS: &[&str] = &["index", "shared", "notes"];
const COORDINATES: &[&str] =
    &["1.1.1/1.1.1/1.1.1", "1.1.1/1.1.1/1.1.2", "2.1.1/1.1.1/1.1.1", "notes/todo", "a.b/c.d/e"];
const READS: &[&str] = &[
    "select?p=P&c=C",
    "read/C?p=P",
    "get?p=P",
    "toc?p=P",
    "json-export?p=P",
    "status?p=P",
    "list/*?p=P&long=true",
    "list?p=P",
    "delta?p=P&s=C:+0",
    "query?p=P&set=C",
    "checksum?p=P",
    "query?p=P&from=1.1.1/1.1.1/1.1.1&to=zoo/zoo",
    "select?p=P&c=C&consistency=stale",
    "get?p=P&consistency=stale",
    "select?p=P&c=C&tenant=OTHER",
    "load?p=P",
    "read/OTHER.C?p=P",
    "select?p=../OTHER/P&c=C",
    "list/OTHER.1?p=P",
];
const WRITES: &[&str] = &["update?p=P&c=C", "insert?p=P&c=C", "write/C?p=P", "delete?p=P&c=C"];

/// A letter nobody else writes, nor the router itself.
const MARKS: [char; 6] = ['α', 'β', 'γ', 'δ', 'ε', 'ζ'];

#[tokio::test]
async fn no_answer_holds_a_byte_of_another_tenant() {
    let (ranch, key) = ranch_with("t0").await;
    let mut clients = vec![ranch.client(Some(&key))];
    for tenant in 1..MARKS.len() {
        let key = ranch.add_tenant(&format!("t{tenant}")).await.unwrap();
        clients.push(ranch.client(Some(&key)));
    }
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut own = 0;
    for _ in 0..REQUESTS {
        let tenant = random.usize(..clients.len());
        let other = random.usize(..clients.len());
        let write = random.bool();
        let pattern = *random.choice(if write { WRITES } else { READS }).unwrap();
        let target = pattern
            .replace('P', random.choice(PHEXTS).unwrap())
            .replace('C', random.choice(COORDINATES).unwrap())
            .replace("OTHER", &format!("t{other}"));
        let method = if write { Method::POST } else { Method::GET };
        let method = if target.starts_with("delete") { Method::DELETE } else { method };
        let text = MARKS[tenant].to_string().repeat(random.usize(1..40));
        let body = if method == Method::POST { text } else { String::new() };
        let path = format!("/api/v2/{target}");
        let answer = clients[tenant].send(method, &path, &[], body).await.unwrap();
        let said = format!("seed {seed}: t{tenant} {target}: {}", answer.text());
        assert!(answer.status < 500, "{said}");
        for foreign in (0..clients.len()).filter(|foreign| *foreign != tenant) {
            assert!(!answer.text().contains(MARKS[foreign]), "{said}");
        }
        own += usize::from(answer.text().contains(MARKS[tenant]));
    }
    assert!(own > REQUESTS / 10, "seed {seed}: texts were seen {own} times");
}
