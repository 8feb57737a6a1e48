//! Calls as the state machine counts them: by stamp, tenant and method, in snapshots too, and gone
//! with a tenant's rows.

use ranch_proto::calls::DAY_MS;
use ranch_proto::keys::{self, Kind};
use ranch_proto::schema::{
    CallMethod, Command, ListUsages, MethodCalls, ReadRequest, TenantCalls, UsagesReply,
    read_reply, read_request,
};

use crate::support::{GROUP, Replica, TENANT, entry, write};

const NOON: u64 = 20_000 * DAY_MS + DAY_MS / 2;

fn note(pairs: &[(&str, CallMethod, u64)]) -> Command {
    let calls = pairs.iter().map(|(tenant, method, count)| TenantCalls {
        tenant: (*tenant).to_owned(),
        calls: vec![MethodCalls { method: (*method).into(), count: *count }],
        ..TenantCalls::default()
    });
    Command { calls: calls.collect(), ..Command::default() }
}

fn page(replica: &Replica, after: &str, limit: u32) -> UsagesReply {
    let list = ListUsages { after: after.to_owned(), limit };
    let what = Some(read_request::What::Usages(list));
    let reply = replica.reader().read(&ReadRequest { what, ..ReadRequest::default() }).unwrap();
    let Some(read_reply::What::Usages(page)) = reply.what else { panic!("{reply:?}") };
    page
}

#[test]
fn calls_are_counted_by_tenant_method_and_day() {
    let mut replica = Replica::new();
    let first = note(&[(TENANT, CallMethod::Select, 2), ("ann", CallMethod::Load, 7)]);
    let second = note(&[(TENANT, CallMethod::Insert, 3)]);
    let answers = replica.apply(&[entry(NOON, vec![first, second])]);
    assert!(answers[0].iter().all(|answer| answer.results.is_empty()));
    let usage = replica.reader().usage(TENANT).unwrap();
    assert_eq!((usage.calls_today, usage.calls_day, usage.last_active_ms), (5, 20_000, NOON));
    assert_eq!(replica.reader().usage("ann").unwrap().calls_today, 7);

    let tomorrow = NOON + DAY_MS;
    replica.run(tomorrow, note(&[(TENANT, CallMethod::Select, 1)]));
    let usage = replica.reader().usage(TENANT).unwrap();
    assert_eq!((usage.calls_today, usage.calls_day, usage.last_active_ms), (1, 20_001, tomorrow));
    let counts: Vec<_> = usage.calls.iter().map(|calls| (calls.method(), calls.count)).collect();
    assert_eq!(counts, [(CallMethod::Select, 3), (CallMethod::Insert, 3)]);
}

#[test]
fn calls_leave_scrolls_and_revisions_alone_and_outlive_a_restart() {
    let mut replica = Replica::new();
    assert_eq!(replica.op(write("1.1.1/1.1.1/1.1.1", "x")).revision, 1);
    replica.run(NOON, note(&[(TENANT, CallMethod::Insert, 1)]));
    assert_eq!(replica.op(write("1.1.1/1.1.1/1.1.1", "y")).revision, 2);
    let before = replica.reader().usage(TENANT).unwrap();
    assert_eq!((before.scrolls, before.storage_bytes, before.calls_today), (1, 65, 1));
    replica.reopen();
    assert_eq!(replica.reader().usage(TENANT).unwrap(), before);
}

#[test]
fn a_malformed_tenant_counts_for_nobody() {
    let mut replica = Replica::new();
    replica.run(NOON, note(&[("../ann", CallMethod::Load, 1), ("", CallMethod::Load, 1)]));
    assert!(page(&replica, "", 0).tenants.is_empty());
}

#[test]
fn pages_hold_every_tenant_once_whatever_rows_it_has() {
    let mut replica = Replica::new();
    replica.op(write("1.1.1/1.1.1/1.1.1", "x"));
    for tenant in ["ann", "bob", "bob-2", "zoe", TENANT] {
        replica.run(NOON, note(&[(tenant, CallMethod::Load, 1)]));
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = page(&replica, &after, 2);
        assert!(page.tenants.len() <= 2);
        for row in page.tenants {
            assert_eq!(row.usage.unwrap().calls_today, 1, "{}", row.tenant);
            seen.push(row.tenant);
        }
        if !page.more {
            break;
        }
        after.clone_from(seen.last().unwrap());
    }
    assert_eq!(seen, ["ann", "bob", "bob-2", TENANT, "zoe"]);
    assert!(page(&replica, "zoe", 0).tenants.is_empty());
}

#[test]
fn a_tenants_bounds_hold_its_calls_and_no_others() {
    let (low, high) = keys::tenant_bounds(Kind::Calls, GROUP, "bob");
    let own = keys::calls(GROUP, "bob");
    assert!(low <= own && own < high);
    assert!(keys::calls(GROUP, "bob-2") >= high && keys::calls(GROUP, "bo") < low);
}
