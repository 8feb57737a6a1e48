//! `delta`, `query` and `where`, over several pages each.

use http::Method;
use libphext::phext;
use ranch_router::Options;

use crate::support::{READER, Router, WILL};

/// Where `where` puts the empty text by its checksum, 99aa06d3014798d86001c324468d497f.
const EMPTY: &str = "663.953.354/676.349.380/662.681.885";
const MISSING: &str = "---sq:Scroll-Missing---";

/// Fills phext `x` with scrolls and returns them.
async fn fill(router: &Router) -> Vec<(String, String)> {
    let client = router.client(WILL);
    let mut scrolls = Vec::new();
    for scroll in 2..=12 {
        scrolls.push((format!("1.1.1/1.1.1/1.1.{scroll}"), format!("text {scroll}")));
    }
    scrolls.push(("2.1.1/1.1.1/1.3.1".to_owned(), "far".to_owned()));
    for (at, text) in &scrolls {
        let reply = client.post(&format!("/api/v2/update?p=x&c={at}"), text.clone()).await;
        assert_eq!(reply.status.as_u16(), 200);
    }
    client.post("/api/v2/update?p=x&c=notes/todo", "named").await;
    scrolls
}

fn line(at: &str, text: &str) -> String {
    format!("{at}: {}\n", phext::checksum(text))
}

fn text_of<'a>(scrolls: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let scrolls = scrolls.into_iter();
    let scrolls = scrolls.map(|(at, text)| (phext::to_coordinate(at), text.to_owned()));
    phext::implode(scrolls.collect())
}

#[tokio::test]
async fn delta_answers_what_differs_at_its_place() {
    let router = Router::start().await;
    let scrolls = fill(&router).await;
    let client = router.client(WILL);
    let all: String = scrolls.iter().map(|(at, text)| line(at, text)).collect();
    let whole = text_of(scrolls.iter().map(|(at, text)| (at.as_str(), text.as_str())));
    let third = &scrolls[2].0;
    let without_third = all.replace(&line(third, &scrolls[2].1), "");
    let origin = line("1.1.1/1.1.1/1.1.1", "mine");
    let between = line("1.1.1/1.1.1/1.2.7", "mine");
    let behind = line("9.1.1/1.1.1/1.1.1", "mine");
    let other = all.replace(&line(third, &scrolls[2].1), &line(third, "other"));
    let short = all.replace(&line(third, &scrolls[2].1), &format!("{third}: no checksum\n"));
    let third_only = text_of([(third.as_str(), scrolls[2].1.as_str())]);
    for (name, body, expected) in [
        ("nothing listed", String::new(), whole.clone()),
        ("all the same", all.clone(), String::new()),
        ("in capitals", all.to_uppercase(), String::new()),
        ("one not listed", without_third, third_only.clone()),
        ("one differs", other, third_only.clone()),
        ("one without a checksum", short, third_only),
        ("named ones have no place", format!("{all}notes/todo: 0\nother/name: 0"), String::new()),
        (
            "missing ones, the origin too",
            format!("{behind}{all}{between}{origin}"),
            text_of([
                ("1.1.1/1.1.1/1.1.1", MISSING),
                ("1.1.1/1.1.1/1.2.7", MISSING),
                ("9.1.1/1.1.1/1.1.1", MISSING),
            ]),
        ),
        (
            "only what is missing is listed",
            format!("{origin}{behind}"),
            text_of(
                [("1.1.1/1.1.1/1.1.1", MISSING), ("9.1.1/1.1.1/1.1.1", MISSING)]
                    .into_iter()
                    .chain(scrolls.iter().map(|(at, text)| (at.as_str(), text.as_str()))),
            ),
        ),
    ] {
        let reply = client.post("/api/v2/delta?p=x", body).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (200, expected.as_str()), "{name}");
        assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8");
    }
    client.get("/api/v2/delta?p=x").await.is(200, &whole);
    let s = format!("/api/v2/delta?p=x&s={}", all.replace('\n', "%0A").replace(' ', "+"));
    client.get(&s).await.is(200, "");
    let nothing = client.post("/api/v2/delta?p=none", line("1.1.1/1.1.1/1.1.1", "x")).await;
    nothing.is(200, MISSING);
    let reply = router.client(READER).post("/api/v2/delta?p=x", all).await;
    reply.is(200, "");
}

#[tokio::test]
async fn delta_reads_no_text_it_does_not_send() {
    let router = Router::start().await;
    let scrolls = fill(&router).await;
    let all: String = scrolls.iter().skip(1).map(|(at, text)| line(at, text)).collect();
    router.shards.state.lock().texts_read = 0;
    let reply = router.client(WILL).post("/api/v2/delta?p=x", all).await;
    reply.is(200, &text_of([(scrolls[0].0.as_str(), scrolls[0].1.as_str())]));
    assert_eq!(router.shards.state.lock().texts_read, 1);
    for path in ["toc?p=x", "status?p=x", "list/*?p=x"] {
        assert_eq!(router.client(WILL).get(&format!("/api/v2/{path}")).await.status, 200);
    }
    assert_eq!(router.shards.state.lock().texts_read, 1);
}

#[tokio::test]
async fn a_list_of_another_form_is_refused() {
    let router = Router::start().await;
    let client = router.client(WILL);
    for (body, status, text) in [
        (
            "abc: 0",
            400,
            "line 1 of the list: malformed coordinate \"abc\": expected nine numbers like \
             1.1.1/1.1.1/1.1.1, a named form like agent.1.1/notes.x.1/1.1.1, or a path like \
             notes/todo",
        ),
        (
            "\n1.1.1/1.1.1/1.1.1\n",
            400,
            "line 2 of the list: 1.1.1/1.1.1/1.1.1 needs a checksum: 1.1.1/1.1.1/1.1.1: XXH3-128",
        ),
    ] {
        client.post("/api/v2/delta", body).await.is(status, text);
    }
    let reply = client.post("/api/v2/delta", vec![b'1', 0xFF]).await;
    reply.is(400, "the body is not valid percent-encoded UTF-8");
    client.get("/api/v2/delta?p=../x").await.is(403, "Forbidden: Invalid phext path");
}

#[tokio::test]
async fn delta_keeps_the_export_limit() {
    let router = Router::with(Options { export_max_bytes: 1_000, ..Router::options() }).await;
    let client = router.client(WILL);
    client.post("/api/v2/update?c=1.1.1/1.1.1/1.1.2", "x".repeat(900)).await;
    let text = "x".repeat(900);
    let same = line("1.1.1/1.1.1/1.1.2", &text);
    let refusal = "the text of this phext is larger than the 1000 bytes an export may have";
    // What is not sent does not count, what is missing does, and so do the ways between.
    for (body, status) in [
        (format!("{same}1.1.1/1.1.1/1.1.977: 0"), 200),
        (format!("{same}1.1.1/1.1.1/1.1.979: 0"), 413),
        ("1.1.1/1.1.1/1.1.1: 0".to_owned(), 200),
        ("1.1.1/1.1.1/1.1.79: 0".to_owned(), 413),
        ("4294967295.1.1/1.1.1/1.1.1: 0".to_owned(), 413),
    ] {
        let reply = client.post("/api/v2/delta", body.clone()).await;
        assert_eq!(reply.status.as_u16(), status, "{body}");
        if status == 413 {
            assert_eq!(reply.text(), refusal);
        }
    }
}

#[tokio::test]
async fn query_answers_ranges_and_sets_in_order() {
    let router = Router::start().await;
    fill(&router).await;
    let client = router.client(WILL);
    let c = |scroll: u32| format!("1.1.1/1.1.1/1.1.{scroll}");
    let far = "2.1.1/1.1.1/1.3.1";
    let all = "1.1.1/1.1.1/1.1.1&to=9.9.9/9.9.9/9.9.9";
    for (query, expected) in [
        (format!("from={}&to={}", c(3), c(5)), "3 4 5"),
        (format!("from={}&to={}", c(12), far), "12 far"),
        (format!("from={}&to={}", c(1), c(1)), ""),
        (format!("from={}&to={}", c(1), c(2)), "2"),
        (format!("from={all}"), "2 3 4 5 6 7 8 9 10 11 12 far"),
        (format!("from={all}&limit=2"), "2 3"),
        (format!("from={all}&limit=5"), "2 3 4 5 6"),
        (format!("from={all}&limit=0"), ""),
        (format!("set={},{}", far, c(2)), "2 far"),
        (format!("set={},{},{}", c(1), c(2), c(2)), "- 2"),
        (format!("set={}", c(1)), "-"),
        (format!("set=notes/todo,{},no/such", c(3)), "3 - named"),
        (format!("set={}&from={}&to={}", c(1), c(2), c(3)), "- 2 3"),
        (format!("set={},{}&from={}&to={}", c(3), c(13), c(2), c(4)), "2 3 4 -"),
        (format!("set=1.1.1/1.1.1/1.2.5,9.9.9/1.1.1/1.1.1&from={all}"), "* - far -"),
        (format!("set={},notes/todo&from={all}&limit=12", c(1)), "- *"),
        (format!("from={far}&to=zoo/last"), "far named"),
    ] {
        let reply = client.get(&format!("/api/v2/query?p=x&{query}")).await;
        assert_eq!(reply.status.as_u16(), 200, "{query}: {}", reply.text());
        assert_eq!(reply.header("content-type"), "application/json");
        let results = reply.json();
        let texts: Vec<_> = results
            .as_array()
            .unwrap()
            .iter()
            .map(|result| match result["scroll"].as_str().unwrap() {
                "" => "-",
                text => text.strip_prefix("text ").unwrap_or(text),
            })
            .collect();
        let expected = expected.replace('*', "2 3 4 5 6 7 8 9 10 11 12");
        assert_eq!(texts.join(" "), expected, "{query}");
        let order: Vec<ranch_proto::Coordinate> = results
            .as_array()
            .unwrap()
            .iter()
            .map(|result| result["coordinate"].as_str().unwrap().parse().unwrap())
            .collect();
        assert!(order.is_sorted(), "{query}");
    }
    let body = format!("{}\n{},\n", c(4), c(2));
    let reply = client.post("/api/v2/query?p=x", body.clone()).await;
    let expected = format!(
        "[{{\"coordinate\":\"{}\",\"scroll\":\"text 2\"}},\
         {{\"coordinate\":\"{}\",\"scroll\":\"text 4\"}}]",
        c(2),
        c(4)
    );
    reply.is(200, &expected);
    // As in SQ, `set` beats the body.
    let reply = client.post(&format!("/api/v2/query?p=x&set={}", c(9)), body).await;
    assert_eq!(reply.json()[0]["scroll"], "text 9");
    let reply = client.get(&format!("/api/v2/query?p=x&set={far}&consistency=stale")).await;
    assert!(reply.header("x-ranch-applied").parse::<u64>().unwrap() > 0);
}

#[tokio::test]
async fn query_refuses_in_sqs_words() {
    let router = Router::start().await;
    let client = router.client(WILL);
    let origin = "1.1.1/1.1.1/1.1.1";
    for (query, reason) in [
        (String::new(), "query needs a range (from + to) or a set of coordinates"),
        (format!("from={origin}"), "a range needs both 'from' and 'to'"),
        (format!("to={origin}&set={origin}"), "a range needs both 'from' and 'to'"),
        (format!("from=abc&to={origin}"), "invalid 'from' coordinate: abc"),
        (
            format!("from={origin}&to=0.1.1/1.1.1/1.1.1"),
            "invalid 'to' coordinate: 0.1.1/1.1.1/1.1.1",
        ),
        (
            format!("from=1.1.1/1.1.1/1.1.2&to={origin}"),
            "'from' (1.1.1/1.1.1/1.1.2) is after 'to' (1.1.1/1.1.1/1.1.1)",
        ),
        (format!("set={origin},1.1.1/1.1.1"), "invalid coordinate in set: 1.1.1/1.1.1"),
        (format!("set={origin}&limit=many"), "invalid limit: many"),
        (format!("set={origin}&limit=-1"), "invalid limit: -1"),
    ] {
        let reply = client.get(&format!("/api/v2/query?{query}")).await;
        reply.is(400, &format!("Bad Request: {reason}"));
    }
    let reply = client.with("accept", "application/json").get("/api/v2/query").await;
    assert_eq!(reply.header("content-type"), "application/problem+json");
}

#[tokio::test]
async fn where_calculates_as_sq_does() {
    let router = Router::start().await;
    let client = router.client(WILL);
    let long = "x".repeat(100);
    let scrolls = format!("{long}\u{17}short\u{17}\u{1}{long}");
    for (query, body, at, rest) in [
        ("", "short", "1.1.1/1.1.1/1.1.1", "algo=xor, limit=100"),
        // 1 xor 1 is 0, which is no component; where SQ says 0, this is 1.
        ("", long.as_str(), "1.1.1/1.1.1/1.1.1", "algo=xor, limit=100"),
        ("?algo=xor", scrolls.as_str(), "2.1.1/1.1.1/1.1.1", "algo=xor, limit=100"),
        ("?algo=xor&limit=5", scrolls.as_str(), "3.1.1/1.1.1/1.1.3", "algo=xor, limit=5"),
        ("?algo=&limit=", "", "1.1.1/1.1.1/1.1.1", "algo=xor, limit=100"),
        ("?algo=checksum", "", EMPTY, "algo=checksum, limit=100"),
    ] {
        let reply = client.post(&format!("/api/v2/where{query}"), body.to_owned()).await;
        reply.is(200, &format!("Calculated coordinate {at} for input ({rest})."));
    }
    client
        .post("/api/v2/where?s=query", "")
        .await
        .is(200, "Calculated coordinate 1.1.1/1.1.1/1.1.1 for input (algo=xor, limit=100).");
    client.post("/api/v2/where?algo=sha", "x").await.is(400, "algo must be xor or checksum");
    let text = "limit must be a whole number, 0 or more";
    client.post("/api/v2/where?limit=few", "x").await.is(400, text);
    let text = "the scroll is not valid UTF-8 (first wrong byte at 0)";
    client.post("/api/v2/where", vec![0xFF]).await.is(400, text);
    let reply = client.send(Method::GET, "/api/v2/where", "").await;
    assert_eq!((reply.status.as_u16(), reply.header("allow")), (405, "POST"));
    router.client(READER).post("/api/v2/where", "x").await;
    assert_eq!(router.shards.state.lock().applied, 0);
}
