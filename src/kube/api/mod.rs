//! Documents about the API itself, which clients read before they request objects.

pub(crate) mod discovery;
pub(crate) mod health;
pub(crate) mod openapi;
pub(crate) mod version;
