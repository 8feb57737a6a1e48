//! Connections from other machines: taken in one after the other, agreed on TLS side by side, so
//! that one that is slow, or means no good, holds up nobody.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use ranch_proto::link::Wire;
use ranch_proto::tls::{Complaints, Security};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;

/// Connections that agree on TLS at one time; more wait to be accepted.
const AGREEING_MAX: usize = 128;
/// Connections that may wait to be served.
const WAITING: usize = 64;
/// After a failure to accept, which is mostly for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// The connections that come in at `listener`, which is closed when the stream is dropped.
pub(crate) fn accept(
    listener: TcpListener,
    security: Security,
    complaints: Arc<Complaints>,
) -> impl Stream<Item = io::Result<Wire>> {
    let (ready, wires) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        tokio::select! {
            () = ready.closed() => {}
            () = accept_all(&listener, &security, &complaints, &ready) => {}
        }
    });
    ReceiverStream::new(wires)
}

async fn accept_all(
    listener: &TcpListener,
    security: &Security,
    complaints: &Arc<Complaints>,
    ready: &mpsc::Sender<io::Result<Wire>>,
) {
    let agreeing = Arc::new(Semaphore::new(AGREEING_MAX));
    loop {
        // The semaphore is never closed, so waiting cannot fail.
        let place = Arc::clone(&agreeing).acquire_owned().await.ok();
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let (security, complaints, ready) =
            (security.clone(), Arc::clone(complaints), ready.clone());
        tokio::spawn(async move {
            // What could not be agreed on has been complained of.
            if let Ok(wire) = Wire::accept(stream, &security, &complaints).await {
                // Nobody takes it once the node is stopping.
                let _ = ready.send(Ok(wire)).await;
            }
            drop(place);
        });
    }
}
