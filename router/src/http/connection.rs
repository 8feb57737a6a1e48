//! One client's connection: hyper over a guarded socket, HTTP/1 and HTTP/2 told apart by their
//! first bytes.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::Watcher;
use ranch_proto::Shards;
use tokio::net::TcpStream;

use crate::app::App;
use crate::dispatch::{self, Peer};
use crate::error::ApiError;
use crate::http::answer::Answer;
use crate::http::cors::Cors;
use crate::http::guard::{Activity, Guarded, Patience};
use crate::options::Options;

/// Most bytes of a head, and of a body read at once.
const BUFFER_MAX: usize = 128 * 1024;
/// The rest of such a body is read in passing. After the refusal of a larger one the connection
/// ends, and the answer says so.
const SMALL_BODY: u64 = 64 * 1024;
/// Most requests a client may have running on one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;
/// Bytes of one request, and of all requests of a connection, a client may send unasked.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// An HTTP/2 client that leaves a ping unanswered for so long is gone.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_ANSWER_MAX: Duration = Duration::from_secs(20);

/// How connections are served; one for a whole router.
pub struct Protocol {
    builder: Builder<TokioExecutor>,
    patience: Patience,
}

impl Protocol {
    /// The protocol with the router's limits.
    pub fn new(options: &Options, cors: &Cors) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            // The guard keeps this deadline: see there.
            .header_read_timeout(None)
            .half_close(true)
            .max_buf_size(BUFFER_MAX);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_ANSWER_MAX)
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(BUFFER_MAX as u32)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        let patience = Patience {
            head: options.head_timeout,
            idle: options.idle_timeout,
            write: options.body_timeout,
            too_slow: slow_head_answer(cors),
        };
        Self { builder, patience }
    }

    /// Serves one connection to its end, or until `drain` lets it go after its running requests.
    /// One that is `turned_away` is told to come back later whatever it asks.
    pub async fn serve<S: Shards>(
        &self,
        stream: TcpStream,
        app: Arc<App<S>>,
        turned_away: bool,
        drain: Watcher,
    ) {
        let activity = Arc::new(Activity::default());
        let number = app.next_connection();
        let metrics = Arc::clone(&app.metrics);
        let _open = metrics.connection(turned_away);
        let is_local = stream.peer_addr().is_ok_and(|peer| peer.ip().to_canonical().is_loopback());
        let peer = Peer { connection: number, is_local };
        let requests = Arc::clone(&activity);
        let service = service_fn(move |request: Request<Incoming>| {
            let request_version = request.version();
            let in_flight = requests.begin(request_version == Version::HTTP_2);
            let app = Arc::clone(&app);
            let body = request.body().size_hint().upper().unwrap_or(u64::MAX);
            let reusable = request.version() == Version::HTTP_2 || body <= SMALL_BODY;
            let activity = (body > 0).then(|| Arc::clone(&requests));
            async move {
                let mut answer = if turned_away {
                    turn_away(&app, &request)
                } else {
                    dispatch::answer(&app, peer, request).await
                };
                // Refusals may come before all of a body has.
                if let Some(activity) = activity.filter(|_| !answer.status().is_success()) {
                    activity.leave_unread();
                    if !reusable {
                        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                    }
                }
                if app.ending.load(Relaxed) && request_version <= Version::HTTP_11 {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                answer.body_mut().in_flight = Some(in_flight);
                Ok::<_, Infallible>(answer)
            }
        });
        let guarded = Guarded::new(stream, activity, self.patience.clone());
        let connection = self.builder.serve_connection(guarded, service).into_owned();
        if let Err(error) = drain.watch(connection).await {
            // Broken by the client, or by a deadline: nothing of the ranch is amiss.
            tracing::debug!(number, %error, "a connection ended early");
        }
    }
}

fn turn_away<S>(app: &App<S>, request: &Request<Incoming>) -> Answer {
    let mut answer = ApiError::TooManyConnections.answer(false);
    app.cors.mark(request.headers().get(http::header::ORIGIN), answer.headers_mut());
    if request.version() <= Version::HTTP_11 {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// What a client is told whose head took too long, when hyper has no request to answer yet.
fn slow_head_answer(cors: &Cors) -> Bytes {
    let mut headers = http::HeaderMap::new();
    cors.mark(None, &mut headers);
    let text = "the head of the request arrived too slowly";
    let mut answer = format!(
        "HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain; charset=utf-8\r\n\
         connection: close\r\ncontent-length: {}\r\n",
        text.len()
    )
    .into_bytes();
    for (name, value) in &headers {
        answer.extend_from_slice(name.as_str().as_bytes());
        answer.extend_from_slice(b": ");
        answer.extend_from_slice(value.as_bytes());
        answer.extend_from_slice(b"\r\n");
    }
    answer.extend_from_slice(b"\r\n");
    answer.extend_from_slice(text.as_bytes());
    answer.into()
}
