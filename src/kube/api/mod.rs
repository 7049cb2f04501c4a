//! Documents about the API itself, which clients read before they ask for objects.

pub(crate) mod discovery;
pub(crate) mod openapi;
pub(crate) mod version;
