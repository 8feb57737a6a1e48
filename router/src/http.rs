//! HTTP itself: connections and their deadlines, request bodies, parameters, headers, answers.
//! hyper parses; nothing here knows what an endpoint means.

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod connection;
pub(crate) mod cors;
pub(crate) mod date;
pub(crate) mod guard;
pub(crate) mod https;
pub(crate) mod linger;
pub(crate) mod negotiate;
pub(crate) mod params;
pub(crate) mod preconditions;
pub(crate) mod server;
