//! The messages of `schema/*.proto`, generated at build time.

#![allow(missing_docs, clippy::all, clippy::pedantic)]

tonic::include_proto!("ranch.v1");
