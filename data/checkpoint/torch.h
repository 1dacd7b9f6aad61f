#pragma once
#include "data/checkpoint/checkpoint.h"
#include "data/checkpoint/input_file.h"
#include "data/checkpoint/zip.h"

/// What torch.save writes (torch/serialization.py): a pickle of the object, whose tensors name the storages they lie
/// in, and the storages' bytes.
///
/// zip archive    STEM/data.pkl, STEM/data/KEY for each storage, STEM/byteorder
/// before 1.6     five pickles: a magic number, the protocol 1001, facts about the machine, the object, a list of keys;
///                then for each key an i64 count and so many elements
///
/// Objects that are no tensors, dicts, lists or tuples (argparse.Namespace, NumPy scalars, whole modules) stay inert
/// values without a meaning, whatever their class: refusing them would refuse every training checkpoint, as its `args`
/// is one, and nothing is called for any. Only a file without tensors in plain dicts and lists is an error.
namespace vitrine::data {

/// Whether the archive holds STEM/data.pkl.
bool is_torch(const ZipArchive& archive);
/// Whether a file that begins with `head`, two bytes or more, is a pickle of a binary protocol.
bool is_pickle(const unsigned char* head);

/// The tensors of a zip archive. @param key  as for read_checkpoint
/// @throws IoError: no torch file, an exported program, a pickle or archive at fault, no tensors or no such entry, a
///         tensor outside its storage, of a type that the engine lacks, or that makes the file claim too much memory
Checkpoint read_torch(const ZipArchive& archive, const std::string& key);
/// The tensors of a file from before 1.6; the rest as read_torch.
Checkpoint read_torch_legacy(const InputFile& file, const std::string& key);

}  // namespace vitrine::data
