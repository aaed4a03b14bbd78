use puna_kernels::quant::scale_min::{pack, unpack, unpack_all};

#[test]
fn unpacking_reverses_packing() {
    for start in 0..64u8 {
        let scales: [u8; 8] = std::array::from_fn(|i| (start + 7 * i as u8) % 64);
        let minima: [u8; 8] = std::array::from_fn(|i| (start + 11 * i as u8 + 5) % 64);
        let packed = pack(&scales, &minima);
        let all = unpack_all(&packed).to_le_bytes();
        for j in 0..8 {
            assert_eq!((all[j], all[8 + j]), (scales[j], minima[j]));
            assert_eq!(unpack(&packed, j), (scales[j], minima[j]));
        }
    }
}
