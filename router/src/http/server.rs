//! The listener: takes connections in while there is room, and lets them go in order at the end.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hyper_util::server::graceful::GracefulShutdown;
use ranch_proto::Shards;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::app::App;
use crate::http::connection::Protocol;
use crate::http::cors::OriginError;
use crate::options::Options;
use crate::tally;

/// Connections beyond the limit that are told so; further ones wait to be accepted.
const TURNED_AWAY_MAX: usize = 64;
/// After a failure to accept, which is mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long clients are told, with their answers, that their connection ends, before those that
/// ask nothing are closed.
const TELL_MAX: Duration = Duration::from_secs(1);

/// Why a router could not run.
#[derive(Debug, thiserror::Error)]
pub enum RouterError {
    /// The options name an origin that is none.
    #[error(transparent)]
    Origin(#[from] OriginError),
}

/// Answers HTTP on `listener` until `shutdown` is ready, then takes no more connections, lets
/// running requests finish for at most [`Options::drain_timeout`], and cuts off the rest.
///
/// # Errors
/// Options that cannot be used. Failures of single connections end those only.
pub async fn serve<S: Shards>(
    listener: TcpListener,
    shards: Arc<S>,
    options: Options,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RouterError> {
    let app = Arc::new(App::new(shards, options)?);
    let protocol = Arc::new(Protocol::new(&app.options, &app.cors));
    let room = Room::new(app.options.max_connections);
    let drain = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let counting = tokio::spawn(tally::run(Arc::clone(&app)));
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            (stream, place) = next(&listener, &room) => {
                let (app, protocol) = (Arc::clone(&app), Arc::clone(&protocol));
                let watcher = drain.watcher();
                connections.spawn(async move {
                    protocol.serve(stream, app, place.turned_away, watcher).await;
                    drop(place);
                });
            }
            Some(ended) = connections.join_next() => report(&ended),
        }
    }
    drop(listener);
    // Clients that are told so with an answer go elsewhere with the next request; of those whose
    // connection is closed under them, some have just sent it.
    app.ending.store(true, Relaxed);
    let told = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(TELL_MAX, told).await;
    if tokio::time::timeout(app.options.drain_timeout, drain.shutdown()).await.is_err() {
        tracing::warn!(connections = connections.len(), "cut off requests still running");
    }
    connections.shutdown().await;
    counting.abort();
    tally::send(&app).await;
    Ok(())
}

fn report(ended: &Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "serving a connection failed");
    }
}

/// The next connection, and a place for it.
async fn next(listener: &TcpListener, room: &Room) -> (TcpStream, Place) {
    let spare = room.spare_if_full().await;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Without it answers only wait longer.
                let _ = stream.set_nodelay(true);
                return (stream, room.place(spare));
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// How many connections there may be. Only the accepting task takes places.
struct Room {
    served: Arc<Semaphore>,
    turned_away: Arc<Semaphore>,
}

/// Held by a connection while it lasts.
struct Place {
    turned_away: bool,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Room {
    fn new(connections_max: u32) -> Self {
        Self {
            served: Arc::new(Semaphore::new(connections_max as usize)),
            turned_away: Arc::new(Semaphore::new(TURNED_AWAY_MAX)),
        }
    }

    /// Without room to serve another connection, a place among those turned away, waiting until
    /// there is one.
    async fn spare_if_full(&self) -> Option<OwnedSemaphorePermit> {
        if self.served.available_permits() > 0 {
            return None;
        }
        Arc::clone(&self.turned_away).acquire_owned().await.ok()
    }

    /// A place for a connection that has come: among the served if one is free by now.
    fn place(&self, spare: Option<OwnedSemaphorePermit>) -> Place {
        match Arc::clone(&self.served).try_acquire_owned() {
            Ok(permit) => Place { turned_away: false, _permit: Some(permit) },
            Err(_) => Place { turned_away: true, _permit: spare },
        }
    }
}
