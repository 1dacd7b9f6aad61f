#pragma once
#include "data/checkpoint/checkpoint.h"
#include "data/checkpoint/zip.h"

namespace vitrine::data {

/// Whether every entry is called *.npy, as those of numpy.savez are.
bool is_npz(const ZipArchive& archive);
/// The arrays of an .npz archive by their names without ".npy". The .npy format (numpy.lib.format, versions 1 to 3):
///
///     "\x93NUMPY" | u8 major | u8 minor | u16 (version 1) or u32 length | header, padded with spaces | elements
///
/// with a header like {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }.
/// @throws IoError naming the array: not that format, other elements than b1, i1-i8, u1-u8, f2-f8 (pickled objects are
///         refused), a shape that disagrees with the bytes
Checkpoint read_npz(const ZipArchive& archive);

}  // namespace vitrine::data
