//! The part of Envoy's API that headcount implements, in Envoy's packages.
//! `proto/envoy/**/*.proto` documents it.

pub mod config {
    pub mod core {
        pub mod v3 {
            tonic::include_proto!("envoy.config.core.v3");
        }
    }
    pub mod endpoint {
        pub mod v3 {
            tonic::include_proto!("envoy.config.endpoint.v3");
        }
    }
}
pub mod service {
    pub mod health {
        pub mod v3 {
            tonic::include_proto!("envoy.service.health.v3");

            /// The server, which receives an Envoy's messages as bytes.
            pub mod server {
                include!(concat!(env!("OUT_DIR"), "/server/envoy.service.health.v3.rs"));
            }
        }
    }
}
pub mod r#type {
    pub mod v3 {
        tonic::include_proto!("envoy.r#type.v3");
    }
}
