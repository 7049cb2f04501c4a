//! Names that stand in a path.

use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts, Path},
    http::request::Parts,
};
use serde::de::DeserializeOwned;

use super::status::Status;

/// Like axum's [`Path`], with a refusal that Kubernetes' clients can read.
#[derive(Debug)]
pub(crate) struct Names<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Names<T> {
    type Rejection = Status;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Status> {
        let path = <Path<T> as FromRequestParts<S>>::from_request_parts(parts, state).await;
        path.map(|Path(names)| Self(names)).map_err(|refusal| Status::bad_request(refusal.body_text()))
    }
}

impl<T: DeserializeOwned + Send + 'static, S: Send + Sync> OptionalFromRequestParts<S> for Names<T> {
    type Rejection = Status;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, Status> {
        let path = <Path<T> as OptionalFromRequestParts<S>>::from_request_parts(parts, state).await;
        let path = path.map_err(|refusal| Status::bad_request(refusal.body_text()))?;
        Ok(path.map(|Path(names)| Self(names)))
    }
}
