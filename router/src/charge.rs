//! Seeing to it that every tenant's call is counted once, by the leader of the tenant's shard.
//!
//! A call carries a [`Ticket`] while it is served. The first message it sends to its shard's
//! leader takes the ticket along, so that nothing is sent for counting alone. A call that ends
//! with its ticket unused (`version`, a malformed coordinate, a stale read) is settled afterwards:
//! for a tenant with limits by asking the leader, for others by the [`Tallies`].
//!
//! The ticket travels with the task, not through every signature: an endpoint cannot forget it.
//!
//! [`Tallies`]: crate::tally::Tallies

use std::cell::Cell;

use ranch_proto::Shards;
use ranch_proto::schema::{CallMethod, Charge};

use crate::app::App;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::forward::ForwardError;
use crate::http::answer::Answer;

tokio::task_local! {
    static TICKET: Ticket;
}

/// A call that has to be counted.
struct Ticket {
    method: CallMethod,
    limited: bool,
    state: Cell<State>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// To be taken along by the next message to a leader.
    Ready,
    /// No leader could be asked; to be counted when one can.
    Late,
    /// Counted, or not to be.
    Used,
}

/// Takes the ticket of the call being served, for the message about to be sent to its leader.
/// `None` when it has been used, or when nothing is counted.
pub fn take() -> Option<Charge> {
    let taken = TICKET.try_with(|ticket| {
        let ready = ticket.state.get() == State::Ready;
        ready.then(|| {
            ticket.state.set(State::Used);
            Charge { method: ticket.method.into() }
        })
    });
    taken.ok().flatten()
}

/// Gives a ticket back that no leader took: the call goes on, and is counted later.
pub fn give_back() {
    // Without a ticket there is nothing to give back.
    let _ = TICKET.try_with(|ticket| ticket.state.set(State::Late));
}

/// Takes the ticket of a call that must be admitted before a replica that is no leader serves it.
pub fn take_if_limited() -> Option<Charge> {
    let limited = TICKET.try_with(|ticket| ticket.limited);
    if limited.unwrap_or(false) { take() } else { None }
}

/// Serves a tenant's call and counts it.
pub async fn counted<S: Shards>(
    app: &App<S>,
    caller: &Caller,
    method: CallMethod,
    served: impl Future<Output = Result<Answer, ApiError>>,
) -> Result<Answer, ApiError> {
    // What is not counted has a ticket that is used up, so that there is one way for all.
    let state = Cell::new(if caller.counted { State::Ready } else { State::Used });
    let ticket = Ticket { method, limited: caller.limited, state };
    let scope = async {
        let outcome = served.await;
        (outcome, TICKET.with(|ticket| ticket.state.get()))
    };
    let (outcome, state) = TICKET.scope(ticket, scope).await;
    match state {
        State::Used => {}
        State::Ready if caller.limited => Box::pin(settle(app, caller, method)).await?,
        State::Ready | State::Late => app.tallies.add(caller.shard.shard, &caller.tenant, method),
    }
    outcome
}

/// Counts a call of a limited tenant that reached no leader. A tenant over its limits is told so
/// instead of the answer; a leader that cannot be reached is no reason to keep an answer back.
async fn settle<S: Shards>(
    app: &App<S>,
    caller: &Caller,
    method: CallMethod,
) -> Result<(), ForwardError> {
    let charge = Charge { method: method.into() };
    match app.forward.charge(caller.shard.shard, &caller.tenant, charge).await {
        Err(error) if error.is_over_limit() => return Err(error),
        Err(_) => app.tallies.add(caller.shard.shard, &caller.tenant, method),
        Ok(()) => {}
    }
    Ok(())
}
