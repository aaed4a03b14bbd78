use puna_kernels::Isa;

#[test]
fn names_lead_back_to_their_level() {
    let all = Isa::available();
    assert_eq!(all[0], Isa::SCALAR);
    for isa in all {
        assert_eq!(Isa::by_name(isa.name()), Some(isa));
    }
    assert_eq!(Isa::by_name("mmx"), None);
}
