//! An etcd 3 as a target, over gRPC. Of its API only what is measured: put, and a linearizable
//! range of one key, with the field numbers of etcd's `rpc.proto` and `kv.proto`.

use bytes::Bytes;
use http::uri::PathAndQuery;
use tonic::Request;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use super::super::error::CliError;
use super::super::http::innermost;
use super::load::Target;
use super::{BenchArgs, BenchError};

const PUT: PathAndQuery = PathAndQuery::from_static("/etcdserverpb.KV/Put");
const RANGE: PathAndQuery = PathAndQuery::from_static("/etcdserverpb.KV/Range");

#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// The answer's header is not looked at.
#[derive(Clone, PartialEq, prost::Message)]
struct PutResponse {}

#[derive(Clone, PartialEq, prost::Message)]
struct RangeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RangeResponse {
    #[prost(message, repeated, tag = "2")]
    kvs: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct KeyValue {
    #[prost(bytes = "bytes", tag = "5")]
    value: Bytes,
}

/// One client, on a connection it shares with others.
pub struct EtcdClient {
    grpc: Grpc<Channel>,
    url: String,
    size: usize,
}

/// All clients, dealt out over the connections in turn, and those over the addresses.
pub async fn clients(args: &BenchArgs) -> Result<Vec<EtcdClient>, CliError> {
    let urls = args.etcd_url.iter().cycle().take(args.etcd_connections as usize);
    let mut connections = Vec::new();
    for url in urls {
        let channel = connect(url).await.map_err(|error| BenchError::Unusable {
            target: url.clone(),
            reason: innermost(&error),
        })?;
        connections.push((channel, url));
    }
    let client = |(channel, url): &(Channel, &String)| EtcdClient {
        grpc: Grpc::new(channel.clone()),
        url: (*url).clone(),
        size: args.size as usize,
    };
    Ok(connections.iter().cycle().take(args.clients as usize).map(client).collect())
}

async fn connect(url: &str) -> Result<Channel, tonic::transport::Error> {
    Endpoint::from_shared(url.to_owned())?.tcp_nodelay(true).connect().await
}

impl EtcdClient {
    async fn call<Q, A>(&mut self, path: PathAndQuery, request: Q) -> Result<A, String>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        self.grpc.ready().await.map_err(|error| error.to_string())?;
        let codec = ProstCodec::<Q, A>::default();
        let answer = self.grpc.unary(Request::new(request), path, codec).await;
        let failure = |status: tonic::Status| format!("{:?}: {}", status.code(), status.message());
        answer.map(tonic::Response::into_inner).map_err(failure)
    }
}

fn key_bytes(key: u32) -> Bytes {
    format!("ranch-bench/{key:08}").into()
}

impl Target for EtcdClient {
    fn name(&self) -> String {
        self.url.clone()
    }

    async fn read(&mut self, key: u32) -> Result<(), String> {
        let request = RangeRequest { key: key_bytes(key) };
        let answer: RangeResponse = self.call(RANGE, request).await?;
        match answer.kvs.first() {
            Some(found) if found.value.len() == self.size => Ok(()),
            Some(found) => Err(format!("{} bytes, not {}", found.value.len(), self.size)),
            None => Err("the key is missing".to_owned()),
        }
    }

    async fn write(&mut self, key: u32, text: Bytes) -> Result<(), String> {
        let request = PutRequest { key: key_bytes(key), value: text };
        self.call::<_, PutResponse>(PUT, request).await.map(drop)
    }
}
