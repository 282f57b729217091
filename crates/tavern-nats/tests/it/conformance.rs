//! The suite that every backend passes, on both versions.

mod debian {
    use tavern_testkit::engine::NatsFlavor;

    use crate::kit::NatsRig;

    tavern_testkit::conformance!(NatsRig::new(NatsFlavor::Debian));
}

mod current {
    use tavern_testkit::engine::NatsFlavor;

    use crate::kit::NatsRig;

    tavern_testkit::conformance!(NatsRig::new(NatsFlavor::Current));
}
