//! Parameters in a request's path.

use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts, Path},
    http::request::Parts,
};
use serde::de::DeserializeOwned;

use super::status::Status;

/// Extracts path parameters as axum's [`Path`] does, and rejects with a [`Status`] that
/// Kubernetes' clients can read.
#[derive(Debug)]
pub(crate) struct PathParams<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for PathParams<T> {
    type Rejection = Status;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Status> {
        let path = <Path<T> as FromRequestParts<S>>::from_request_parts(parts, state).await;
        path.map(|Path(params)| Self(params)).map_err(|rejection| Status::bad_request(rejection.body_text()))
    }
}

impl<T: DeserializeOwned + Send + 'static, S: Send + Sync> OptionalFromRequestParts<S> for PathParams<T> {
    type Rejection = Status;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, Status> {
        let path = <Path<T> as OptionalFromRequestParts<S>>::from_request_parts(parts, state).await;
        let path = path.map_err(|rejection| Status::bad_request(rejection.body_text()))?;
        Ok(path.map(|Path(params)| Self(params)))
    }
}
