//! No request reaches another tenant's rows, and pages are exact (R4).

use bytes::Bytes;
use ranch_proto::coordinate::Coordinate;
use ranch_proto::schema::{
    Command, GetScroll, ListPhexts, Op, ReadRequest, ScanReply, ScanScrolls, TenantUsage,
    read_reply, read_request::What,
};
use ranch_raft::state::ReadError;

use crate::support::*;

const TENANTS: [&str; 6] = ["a", "a-", "a-b", "a0", "b", "aa"];
const PHEXTS: [&str; 4] = ["a", "a-b", "\u{1}", "a\u{1}b"];
const COORDINATES: [&str; 3] = ["1.1.1/1.1.1/1.1.1", "2.1.1/1.1.1/1.1.1", "notes/todo"];

/// Every tenant has the same scrolls, each with a text that says whose it is.
fn filled() -> Replica {
    let mut replica = Replica::new();
    for tenant in TENANTS {
        let mut ops = Vec::new();
        for phext in PHEXTS {
            for coordinate in COORDINATES {
                let text = format!("{tenant}|{phext}|{coordinate}");
                ops.push(Op { phext: phext.into(), ..write(coordinate, &text) });
            }
        }
        replica.run(1, Command { tenant: tenant.into(), ..command(ops) });
    }
    replica
}

fn texts(reply: &ScanReply) -> Vec<String> {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    reply.scrolls.iter().map(|scroll| text(scroll.text.as_ref().unwrap())).collect()
}

#[test]
fn each_tenant_sees_its_own_and_nothing_else() {
    let replica = filled();
    for tenant in TENANTS {
        for phext in PHEXTS {
            let scan = ScanScrolls { phext: phext.into(), texts: true, ..Default::default() };
            let reply = replica.reader().scan(tenant, &scan).unwrap();
            let expected: Vec<_> =
                COORDINATES.iter().map(|c| format!("{tenant}|{phext}|{c}")).collect();
            assert_eq!(texts(&reply), expected);
            assert!(!reply.more);
            for coordinate in COORDINATES {
                let (_, text) =
                    replica.reader().get(tenant, phext, &key(coordinate)).unwrap().unwrap();
                assert_eq!(text, format!("{tenant}|{phext}|{coordinate}"));
            }
        }
        let names: Vec<_> = replica.reader().phexts(tenant).unwrap().phexts;
        assert_eq!(names.len(), PHEXTS.len());
        assert_eq!(replica.reader().usage(tenant).unwrap().scrolls, 12);
    }
    assert_eq!(replica.reader().usage("a-c").unwrap().scrolls, 0);
    assert!(replica.reader().phexts("a-c").unwrap().phexts.is_empty());
}

#[test]
fn bounds_given_by_a_client_do_not_lead_out_of_its_phext() {
    let replica = filled();
    let odd = [vec![0], vec![0; 9], vec![0xFF; 40], b"\0a\0".to_vec(), vec![1, 0, 1], vec![2]];
    for after in odd {
        let scan = ScanScrolls {
            phext: "a".into(),
            after: after.clone().into(),
            texts: true,
            ..Default::default()
        };
        let reply = replica.reader().scan("a-b", &scan).unwrap();
        assert!(texts(&reply).iter().all(|text| text.starts_with("a-b|a|")), "{after:?}");
    }
}

#[test]
fn names_that_could_break_out_of_a_key_are_refused() {
    let replica = filled();
    let reader = replica.reader();
    let coordinate = key(COORDINATES[0]);
    for tenant in ["", "a\0", "a\0b", "A", "a/b", "\u{1}", "-a"] {
        assert!(matches!(reader.get(tenant, "a", &coordinate), Err(ReadError::Tenant)), "{tenant}");
        assert!(matches!(reader.usage(tenant), Err(ReadError::Tenant)));
        assert!(matches!(reader.phexts(tenant), Err(ReadError::Tenant)));
        let scan = ScanScrolls { phext: "a".into(), ..Default::default() };
        assert!(matches!(reader.scan(tenant, &scan), Err(ReadError::Tenant)));
    }
    let long = "p".repeat(201);
    for phext in ["", "a\0", "a\0b", &long] {
        assert!(matches!(reader.get("a", phext, &coordinate), Err(ReadError::Phext)));
        let scan = ScanScrolls { phext: phext.into(), ..Default::default() };
        assert!(matches!(reader.scan("a", &scan), Err(ReadError::Phext)));
    }
    assert!(matches!(reader.get("a", "a", &[0, 1]), Err(ReadError::Coordinate(_))));
    let scan = ScanScrolls { phext: "a".into(), pattern: "1..2".into(), ..Default::default() };
    assert!(matches!(reader.scan("a", &scan), Err(ReadError::Pattern(_))));
    assert!(matches!(reader.read(&ReadRequest::default()), Err(ReadError::Nothing)));
}

#[test]
fn requests_are_answered_with_the_applied_index() {
    let replica = filled();
    let request = |what| ReadRequest { tenant: "a".into(), what: Some(what), ..Default::default() };
    let read = |what| replica.reader().read(&request(what)).unwrap();
    let get = GetScroll { phext: "a".into(), coordinate: key(COORDINATES[0]).into() };
    let reply = read(What::Get(get));
    assert_eq!(reply.applied, TENANTS.len() as u64 - 1);
    let Some(read_reply::What::Get(get)) = reply.what else { panic!("not a scroll") };
    let scroll = get.scroll.unwrap();
    assert_eq!(scroll.coordinate, key(COORDINATES[0]));
    assert_eq!(scroll.text.unwrap(), "a|a|1.1.1/1.1.1/1.1.1");
    assert_eq!((scroll.revision, scroll.modified_ms, scroll.length), (1, 1, 21));
    let Some(read_reply::What::Usage(usage)) = read(What::Usage(TenantUsage {})).what else {
        panic!("not usage")
    };
    assert_eq!(usage.phexts, 4);
    let Some(read_reply::What::Phexts(phexts)) = read(What::Phexts(ListPhexts {})).what else {
        panic!("not phexts")
    };
    assert_eq!(phexts.phexts.len(), 4);
    let scan = ScanScrolls { phext: "a".into(), ..Default::default() };
    let Some(read_reply::What::Scan(scan)) = read(What::Scan(scan)).what else {
        panic!("not a page")
    };
    assert_eq!(scan.scrolls[0].first_line, "a|a|1.1.1/1.1.1/1.1.1");
    assert_eq!(scan.scrolls[0].text, None, "headers only");
    assert!(!scan.scrolls[0].more_lines);
}

fn numbered(count: u32) -> Replica {
    let mut replica = Replica::new();
    let ops = (1..=count).map(|n| write(&format!("1.{n}.1/1.1.1/1.1.1"), "text")).collect();
    replica.run(1, command(ops));
    replica.run(1, command(vec![write("notes/todo", "n"), write("notes/done", "n")]));
    replica
}

fn pages(replica: &Replica, scan: ScanScrolls) -> (Vec<String>, usize) {
    let mut scan = scan;
    let (mut all, mut pages) = (Vec::new(), 0);
    loop {
        let reply = replica.reader().scan(TENANT, &scan).unwrap();
        let printed = |key: &[u8]| Coordinate::from_key(key).unwrap().to_string();
        all.extend(reply.scrolls.iter().map(|scroll| printed(&scroll.coordinate)));
        pages += 1;
        if !reply.more {
            return (all, pages);
        }
        scan.after = reply.next_after;
    }
}

#[test]
fn pages_join_without_gap_or_overlap() {
    let replica = numbered(50);
    let scan = ScanScrolls { phext: PHEXT.into(), ..Default::default() };
    let (all, one) = pages(&replica, scan.clone());
    assert_eq!((all.len(), one), (52, 1));
    for limit in [1, 7, 51, 52, 53] {
        let (paged, _) = pages(&replica, ScanScrolls { limit, ..scan.clone() });
        assert_eq!(paged, all, "limit {limit}");
    }
    for max_bytes in [1, 300, 5_000] {
        for texts in [false, true] {
            let limited = ScanScrolls { max_bytes, texts, ..scan.clone() };
            let (paged, count) = pages(&replica, limited);
            assert_eq!(paged, all, "{max_bytes} bytes");
            assert!(count > 1 || max_bytes == 5_000);
        }
    }
    let numeric = ScanScrolls { numeric_only: true, ..scan };
    assert_eq!(pages(&replica, numeric).0, all[..50]);
}

#[test]
fn patterns_choose_and_bound() {
    let replica = numbered(50);
    let scan = |pattern: &str| {
        let pattern = pattern.into();
        pages(
            &replica,
            ScanScrolls { phext: PHEXT.into(), pattern, limit: 3, ..Default::default() },
        )
        .0
    };
    assert_eq!(scan("1.2"), ["1.2.1/1.1.1/1.1.1"]);
    assert_eq!(scan("1.*.1/1").len(), 50);
    assert_eq!(scan("2"), Vec::<String>::new());
    assert_eq!(scan("notes"), ["1.1/notes.done.1/1.1.1", "1.1/notes.todo.1/1.1.1"]);
    assert_eq!(scan("*.7"), ["1.7.1/1.1.1/1.1.1"]);
    assert_eq!(scan("1").len(), 52, "paths lie under 1.1");
}
