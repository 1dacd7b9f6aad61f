#include <cstring>

#include "core/random.h"
#include "data/checkpoint/checkpoint.h"
#include "data/checkpoint/sha256.h"
#include "tests/apps/run_program.h"
#include "tests/data/checkpoint_bytes.h"
#include "tests/support/catch.h"

using namespace vitrine;
using namespace vitrine::testing;
using data::Checkpoint;
using data::read_checkpoint;

namespace {

std::string fixture(const std::string& name) {
  return std::string(VITRINE_SOURCE_DIR) + "/tests/fixtures/checkpoint/" + name;
}

std::string bytes_of(const std::string& name) {
  std::ifstream in(fixture(name), std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

bool equal_bytes(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() && a.is_contiguous() &&
         std::memcmp(a.raw_data(), b.raw_data(), size_t(a.numel() * size_of(a.dtype()))) == 0;
}

void check_equal(const data::Safetensors& found, const data::Safetensors& expected) {
  for (const auto& [name, t] : found.tensors) {
    INFO(name);
    CHECK(equal_bytes(t, expected.at(name)));
  }
}

/// The message of the IoError that reading the file throws, without its name; "no error" if it reads.
std::string failure_of(const std::string& file, const std::string& key = {}) {
  try {
    read_checkpoint(file, key);
  } catch (const IoError& e) {
    const std::string message = e.what();
    CHECK(message.starts_with(file + ": "));
    CHECK(message.find('\n') == std::string::npos);
    return message.substr(file.size() + 2);
  }
  return "no error";
}

/// That of a file of these bytes.
std::string failure(const ScratchFolder& folder, const std::string& bytes, const std::string& key = {}) {
  return failure_of(folder.write("bad", bytes), key);
}

const std::string kFour = little(0x3f800000, 4) + little(0x40000000, 4) + little(0x40400000, 4) + little(0x40800000, 4);

/// An archive of torch with this object and one storage "0" of the floats 1 to 4.
std::string torch_zip(const std::string& object, std::vector<ZipPart> more = {}) {
  std::vector<ZipPart> parts = {{"x/data.pkl", pickle(object)}, {"x/data/0", kFour}};
  parts.insert(parts.end(), more.begin(), more.end());
  return zip(parts);
}

/// One tensor "w" in a file of the old form, whose storages are these bytes.
std::string torch_legacy(const std::string& object, const std::string& keys, const std::string& storages,
                         bool little_endian = true) {
  const std::string magic = std::string("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 12);
  return pickle(magic) + pickle("M" + little(1001, 2)) +
         pickle(dict({{"little_endian", little_endian ? "\x88" : "\x89"}})) + pickle(object) + pickle(keys) + storages;
}

std::vector<double> values(const ScratchFolder& folder, const std::string& bytes, const std::string& name = "w") {
  return read_checkpoint(folder.write("good", bytes)).content.at(name).to_vector();
}

using Doubles = std::vector<double>;
const std::string kWhole = tensor(storage("0", 4), 0, {4}, {1});

}  // namespace

TEST_CASE("checkpoint: files of torch.save give torch's tensors", "[data]") {
  const data::Safetensors expected = data::read_safetensors(fixture("expected.safetensors"));
  for (const char* name : {"zip.pth", "legacy.pth", "deflated.pth", "bare.pth"}) {
    INFO(name);
    const Checkpoint read = read_checkpoint(fixture(name));
    const bool bare = name == std::string("bare.pth");
    CHECK(read.format == (name == std::string("legacy.pth") ? "torch-legacy" : "torch"));
    CHECK(read.key == (bare ? "" : "model"));
    CHECK(read.content.tensors.size() == (bare ? 4 : expected.tensors.size()));
    CHECK(read.content.tensors[0].first == "whole");  // the order is that of the dict
    check_equal(read.content, expected);
    if (!bare)
      CHECK(read.notes == std::vector<std::string>{"\"i16\": int16 widened to i32", "\"i8\": int8 widened to i32"});
  }
}

TEST_CASE("checkpoint: tensors that shared memory in the file do not in ours", "[data]") {
  Checkpoint read = read_checkpoint(fixture("zip.pth"));
  const Tensor a = read.content.at("shared.a"), b = read.content.at("shared.b");
  CHECK_FALSE(a.shares_storage(b));
  CHECK(a.storage()->bytes() < 64 + 5 * sizeof(float));  // nor does it keep the rest of the file's storage
}

TEST_CASE("checkpoint: arrays of numpy.savez, of every byte order and order of dimensions", "[data]") {
  const data::Safetensors expected = data::read_safetensors(fixture("expected_arrays.safetensors"));
  for (const char* name : {"arrays.npz", "packed.npz"}) {
    INFO(name);
    const Checkpoint read = read_checkpoint(fixture(name));
    CHECK(read.format == "npz");
    CHECK(read.content.tensors.size() == expected.tensors.size());
    check_equal(read.content, expected);
    CHECK(read.notes.size() == 3);
  }
}

TEST_CASE("checkpoint: the entry of a torch file is chosen, by us or by its key", "[data]") {
  const ScratchFolder folder("ckpt_keys");
  const std::string w = dict({{"w", kWhole}}), n = "K\1";
  const auto key_of = [&](const std::string& object) {
    return read_checkpoint(folder.write("f", torch_zip(object))).key;
  };
  CHECK(key_of(w) == "");
  CHECK(key_of(dict({{"state_dict", w}, {"model", w}})) == "model");
  CHECK(key_of(dict({{"best", kWhole}, {"state_dict", w}})) == "state_dict");
  CHECK(key_of(dict({{"epoch", n}, {"weights", w}})) == "weights");
  CHECK(failure(folder, torch_zip(dict({{"a", w}, {"b", w}}))) ==
        "several entries hold tensors; choose one with --key: \"a\", \"b\"");
  CHECK(read_checkpoint(folder.write("f", torch_zip(dict({{"a", w}, {"b", w}}))), "b").key == "b");
  CHECK(failure(folder, torch_zip(dict({{"a", w}, {"b", n}})), "b") ==
        "no entry \"b\" holds tensors; those that do: \"a\"");
  CHECK(
      failure(folder, bytes_of("arrays.npz"), "b").starts_with("only files of torch.save have entries such as \"b\""));
  // Nested names, a list, an integer key, a tensor alone.
  CHECK(values(folder, torch_zip(dict({{"model", "}(K\7](" + kWhole + "eu"}})), "7.0") == Doubles{1, 2, 3, 4});
  CHECK(values(folder, torch_zip(kWhole), "tensor") == Doubles{1, 2, 3, 4});
}

TEST_CASE("checkpoint: a name that states the file's hash must be right", "[data]") {
  const ScratchFolder folder("ckpt_hash");
  const std::string whole = bytes_of("bare.pth"), old = bytes_of("legacy.pth");
  const auto hash = [](const std::string& bytes) {
    return data::sha256(std::as_bytes(std::span(bytes.data(), bytes.size()))).substr(0, 8);
  };
  CHECK(read_checkpoint(folder.write("m-" + hash(whole) + ".pth", whole)).content.tensors.size() == 4);
  CHECK(read_checkpoint(folder.write("m-" + hash(old) + ".pth", old)).content.tensors.size() == 18);
  for (const std::string& bytes : {whole, old}) {
    const std::string file = folder.write("m-0123abcd.pth", bytes);
    CHECK_THROWS_WITH(read_checkpoint(file),
                      file + ": its name says that its SHA-256 begins with 0123abcd, but it begins with " +
                          hash(bytes) +
                          ": the file is damaged or another one; to read it all the same, rename it or "
                          "give --ignore-name-hash");
    CHECK_NOTHROW(read_checkpoint(file, {}, data::NameHash::ignore));
  }
  for (const char* name : {"m-0123abc.pth", "m-0123abcg.pth", "0123abcd.pth", "m_0123abcd.pth", "m-0123ABCD.pth"})
    CHECK_NOTHROW(read_checkpoint(folder.write(name, whole)));
  // Of what was made from such a file, the name says nothing.
  CHECK_NOTHROW(read_checkpoint(folder.write("m-0123abcd.npz", bytes_of("packed.npz"))));
}

TEST_CASE("sha256: bytes in parts of any size hash as in one piece", "[unit]") {
  std::string text;
  for (int i = 0; i < 300; ++i) text += char(i * 37);
  const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
  for (const size_t total : {size_t(55), size_t(56), size_t(63), size_t(64), size_t(119), size_t(300)})
    for (const size_t part : {size_t(1), size_t(7), size_t(63), size_t(64), size_t(65), size_t(200)}) {
      data::Sha256 hash;
      for (size_t at = 0; at < total; at += part) hash.update(bytes.subspan(at, std::min(part, total - at)));
      INFO(total << " bytes by " << part);
      CHECK(hash.finish() == data::sha256(bytes.first(total)));
    }
}

TEST_CASE("checkpoint: nothing that a pickle names is looked up; what is needed must be plain", "[data]") {
  const ScratchFolder folder("ckpt_inert");
  const std::string evil = global("os", "system") + "(" + text("touch " + folder.file("evil")) + "tR";
  const Checkpoint read = read_checkpoint(
      folder.write("f", torch_zip(dict({{"model", dict({{"w", kWhole}, {"x", evil}})}, {"args", evil}}))));
  CHECK(read.content.tensors.size() == 1);
  CHECK(read.notes == std::vector<std::string>{"1 values that are no tensors passed over: \"x\""});
  CHECK_FALSE(std::filesystem::exists(folder.file("evil")));
  CHECK(
      failure(folder, torch_zip(dict({{"model", evil}}))) ==
      "holds no tensors in plain dicts and lists (\"model\": an object of \"os.system\"); save a model's state_dict()");
  CHECK(failure(folder, torch_zip(evil)) ==
        "holds no tensors in plain dicts and lists, but an object of \"os.system\"");
  CHECK(failure(folder, torch_zip("}")) ==
        "holds no tensors in plain dicts and lists (it is empty); save a model's state_dict()");
  CHECK(failure(folder, torch_zip(kWhole, {{"x/code/model.py", ""}})).starts_with("an exported program (TorchScript)"));
}

TEST_CASE("checkpoint: strides, offsets and storages of a tensor are checked", "[data]") {
  const ScratchFolder folder("ckpt_strides");
  const auto of = [&](int64_t offset, std::vector<int64_t> sizes, std::vector<int64_t> strides) {
    return torch_zip(dict({{"w", tensor(storage("0", 4), offset, sizes, strides)}}));
  };
  CHECK(values(folder, of(0, {2, 2}, {1, 2})) == Doubles{1, 3, 2, 4});
  CHECK(values(folder, of(3, {2}, {0})) == Doubles{4, 4});
  CHECK(values(folder, of(9, {0, 5}, {7, 7})).empty());
  const std::string outside = "does not lie in its storage of 4 elements";
  for (const auto& bytes : {of(1, {4}, {1}), of(-1, {2}, {1}), of(0, {2, 2}, {1, 3}), of(0, {2}, {-1}), of(4, {}, {}),
                            of(INT64_MAX, {2}, {1}), of(0, {3}, {INT64_MAX}), of(0, {2, 2}, {INT64_MAX, INT64_MAX})})
    CHECK(failure(folder, bytes).find(outside) != std::string::npos);
  CHECK(failure(folder, of(0, {-2}, {1})) == "tensor \"w\" has a negative size: -2");
  CHECK(failure(folder, of(0, {2, 2}, {1})) == "tensor \"w\": 1 strides for shape [2, 2]");
  CHECK(failure(folder, of(0, {1, 1, 1, 1, 1, 1, 1, 1, 1}, {1})).find("at most 8 numbers") != std::string::npos);
  CHECK(failure(folder, of(0, {INT64_MAX, 0}, {0, 0})).find("larger than any memory") != std::string::npos);
  // One number repeated: the shape is possible, the memory is refused before it is asked for.
  CHECK(failure(folder, of(0, {1 << 30, 1 << 10}, {0, 0})).find("its content asks for 4398046511104 bytes") == 0);
  const auto stored = [&](const std::string& where) { return torch_zip(dict({{"w", tensor(where, 0, {2}, {1})}})); };
  CHECK(failure(folder, stored(storage("1", 4))) == "storage \"1\" is not in the archive");
  CHECK(failure(folder, stored(storage("0", 5))) == "\"x/data/0\": 5 elements of float32 do not fit its 16 bytes");
  CHECK(failure(folder, stored(storage("0", int64_t(1) << 62))).find("do not fit its 16 bytes") != std::string::npos);
  CHECK(failure(folder, stored(storage("0", -4))) == "refers to something that is no storage of a tensor");
  CHECK(failure(folder, stored(storage("0", 2, "ComplexFloatStorage"))) ==
        "storage \"0\" cannot be read: an object of \"torch.ComplexFloatStorage\"");
  CHECK(failure(folder, stored(storage("0", 4, "UntypedStorage"))) == "tensor \"w\": its elements have no type");
  CHECK(failure(folder, torch_zip(dict({{"w", kWhole}, {"w", kWhole}}))) == "two entries are called \"w\"");
  CHECK(failure(folder, torch_zip(dict({{"model", dict({{"a.b", kWhole}, {"a", dict({{"b", kWhole}})}})}}))) ==
        "two tensors are called \"a.b\"");
}

TEST_CASE("checkpoint: forms that writers of today do not use", "[data]") {
  const ScratchFolder folder("ckpt_forms");
  const auto w = [](const std::string& where) { return dict({{"w", tensor(where, 1, {2}, {1})}}); };
  // _rebuild_tensor_v3: the storage is bytes, the tensor states the type.
  const std::string v3 = global("torch._utils", "_rebuild_tensor_v3") + "(" + storage("0", 16, "UntypedStorage") +
                         integer(6) + tuple({2}) + tuple({1}) + "\x89" + "N" + global("torch", "uint16") + "NtR";
  CHECK(values(folder, torch_zip(dict({{"w", v3}}))) == Doubles{0, 0x4080});
  // Big-endian, Python 2's texts and list of pairs.
  const std::string big = std::string("\x40\x00\x00\x00\x41\x20\x00\x00", 8);
  CHECK(values(folder, zip({{"x/data.pkl", pickle(dict({{"w", tensor(storage("0", 2), 0, {2}, {1})}}))},
                            {"x/data/0", big},
                            {"x/byteorder", "big"}})) == Doubles{2, 10});
  CHECK(failure(folder, torch_zip(w(storage("0", 4)), {{"x/byteorder", "middle"}})) ==
        "the byte order \"middle\" is neither little nor big");
  const std::string pairs = global("collections", "OrderedDict") + "(](](U\1w" + kWhole + "eetR";
  CHECK(values(folder, torch_zip(pairs)) == Doubles{1, 2, 3, 4});
  // The old form: a window of a storage; the counts of big-endian files.
  const std::string keys = "](" + text("0") + "e", window = "(" + text("v") + integer(1) + integer(3) + "t";
  const std::string one = little(4, 8) + kFour;
  CHECK(values(folder, torch_legacy(w(storage("0", 4, "FloatStorage", window)), keys, one)) == Doubles{3, 4});
  CHECK(values(folder, torch_legacy(dict({{"w", tensor(storage("0", 2), 0, {2}, {1})}}), keys,
                                    std::string(7, '\0') + "\2" + big, false)) == Doubles{2, 10});
  const auto bad = [&](const std::string& k, const std::string& s) {
    return failure(folder, torch_legacy(w(storage("0", 4)), k, s));
  };
  CHECK(bad(keys, one.substr(0, 23)).find("truncated: storage \"0\" of 4 elements") == 0);
  CHECK(bad(keys, one + "x") == "1 bytes after the last storage");
  CHECK(bad(keys, little(5, 8) + kFour) == "storage \"0\" holds 5 elements, its tensors say 4");
  CHECK(bad("](" + text("1") + "e", one) == "storage \"1\" belongs to no tensor");
  CHECK(bad("](" + text("0") + text("0") + "e", one + one) == "storage \"0\" is there twice");
  CHECK(bad("]", "") == "storage \"0\" is not in the file");
  const std::string outside = "(" + text("v") + integer(2) + integer(3) + "t";
  CHECK(failure(folder, torch_legacy(w(storage("0", 4, "FloatStorage", outside)), keys, one)) ==
        "storage \"0\": a window outside of it");
  CHECK(failure(folder, pickle(dict({{"w", "K\1"}}))) == "a pickle, but not of torch.save");
}

TEST_CASE("checkpoint: hostile pickles end in an error that names the place", "[data]") {
  const ScratchFolder folder("ckpt_pickle");
  const auto of = [&](const std::string& object) { return failure(folder, torch_zip(object)); };
  CHECK(of("}\xff") == "\"x/data.pkl\": opcode 0xff has no place in a checkpoint, at byte 3 of the pickle");
  CHECK(of("(K\1i").find("opcode 0x69") != std::string::npos);  // INST would call
  CHECK(of("K\1K\1\x52").find("the arguments of a call are no tuple") != std::string::npos);
  CHECK(of("0").find("an opcode finds nothing on the stack") != std::string::npos);
  CHECK(of("K\1(0").find("an opcode finds nothing on the stack") != std::string::npos);  // not below the mark
  CHECK(of("t").find("an opcode finds no mark on the stack") != std::string::npos);
  CHECK(of("h\5").find("a value is recalled that was never kept") != std::string::npos);
  CHECK(of("}(K\1u").find("a key has no value") != std::string::npos);
  CHECK(of("K\1K\2a").find("items are added to what holds none") != std::string::npos);
  CHECK(of("X" + little(0xfffffff0, 4)).find("truncated: the pickle wants 4294967280 bytes at its byte 7") !=
        std::string::npos);
  CHECK(of("\x8d" + little(UINT64_MAX, 8)).find("truncated") != std::string::npos);  // texts and integers of any length
  CHECK(of("\x8b" + little(0x7fffffff, 4)).find("truncated") != std::string::npos);
  // An integer of 255 bytes is kept as something of no value, and is no size.
  const std::string huge = "\x8a\xff" + std::string(255, '\x7f');
  CHECK(of(dict({{"model", dict({{"w", kWhole}})}, {"epoch", huge}})) == "no error");
  const std::string sized =
      "(" + text("storage") + global("torch", "FloatStorage") + text("0") + text("cpu") + huge + "tQ";
  CHECK(of(dict({{"w", tensor(sized, 0, {4}, {1})}})) == "refers to something that is no storage of a tensor");
  CHECK(of("c" + std::string(2000, 'a')).find("has no end") != std::string::npos);
  CHECK(failure(folder, zip({{"x/data.pkl", "\x80\x02}"}})).find("truncated: the pickle wants 1 bytes") !=
        std::string::npos);
  CHECK(failure(folder, zip({{"x/data.pkl", "\x80\x09}."}})).find("newer protocol") != std::string::npos);
  // Values within themselves, to any depth, and shared so that walking them would take 2^40 steps.
  std::string wrapped = kWhole;
  for (int i = 0; i < 9; ++i) wrapped = global("torch._utils", "_rebuild_parameter") + "(" + wrapped + "\x88NtR";
  CHECK(of(wrapped).find("holds no tensors in plain dicts and lists") == 0);
  CHECK(of("]q\1h\1a").find("nested more than 32 deep") != std::string::npos);
  std::string deep, shared = "]q\1";
  for (int i = 0; i < 100'000; ++i) deep += "](";
  for (int i = 0; i < 100'000; ++i) deep += "e";
  CHECK(of(deep).find("nested more than 32 deep") != std::string::npos);
  for (int i = 0; i < 30; ++i) shared += "](h\1h\1h\1h\1eq\1";
  CHECK(of(shared).find("dicts and lists with more than 4194304 values") != std::string::npos);
  const std::string long_name(990, 'n');
  CHECK(of(dict({{long_name, dict({{long_name, kWhole}})}})).find("no error") == 0);  // the entry, then the name
  CHECK(of(dict({{"a", dict({{long_name, dict({{long_name, kWhole}})}})}})).find("a name of more than") == 0);
}

TEST_CASE("checkpoint: archives are checked before anything in them is read", "[data]") {
  const ScratchFolder folder("ckpt_zip");
  const ZipPart object{"x/data.pkl", pickle(dict({{"w", kWhole}}))};
  const auto with = [&](ZipPart numbers) { return zip({object, std::move(numbers)}); };
  const auto of = [&](ZipPart numbers) { return failure(folder, with(std::move(numbers))); };
  // Forms that are right.
  for (const ZipPart& part :
       {ZipPart{"x/data/0", kFour}, ZipPart{"x/data/0", kFour, true}, ZipPart{"x/data/0", kFour, false, true},
        ZipPart{"x/data/0", kFour, true, true}, ZipPart{"x/data/0", kFour, false, false, true},
        ZipPart{"x/data/0", kFour + "more"}, ZipPart{.name = "x/data/0", .content = kFour, .crc = 0}})
    CHECK(values(folder, with(part)) == Doubles{1, 2, 3, 4});
  CHECK(values(folder, zip({object, {"x/data/0", kFour}}, "a comment PK\5\6 within")) == Doubles{1, 2, 3, 4});
  // Checksums, and sizes that lie.
  CHECK(of({.name = "x/data/0", .content = kFour, .crc = 1}) ==
        "\"x/data/0\": damaged: its checksum is not the one stated");
  CHECK(of({.name = "x/data/0", .content = kFour + "more", .crc = 1}).find("checksum") != std::string::npos);
  CHECK(of({.name = "x/data/0", .content = kFour, .size = 12, .stored = 16}).find("cannot hold 12 bytes in 16") !=
        std::string::npos);
  CHECK(of({.name = "x/data/0", .content = kFour, .size = 500, .stored = 500}).find("truncated") != std::string::npos);
  CHECK(of({.name = "x/data/0", .content = kFour + "more", .deflate = true, .size = 18})
            .find("longer than the 18 bytes") != std::string::npos);
  CHECK(of({.name = "x/data/0", .content = kFour, .deflate = true, .size = 17}).find("shorter than the 17 bytes") !=
        std::string::npos);
  CHECK(of({.name = "x/data/0", .content = kFour, .method = 8}).find("\"x/data/0\": damaged: ") == 0);
  // A bomb that states its size, and one that states more than deflate can.
  const std::string bomb(size_t(80) << 20, '\0');
  const std::string claims = torch_zip(dict({{"w", tensor(storage("b", int64_t(20) << 20), 0, {4}, {1})}}),
                                       {{.name = "x/data/b", .content = bomb, .deflate = true}});
  CHECK(claims.size() < 100'000);
  CHECK(failure(folder, claims).find("its content asks for 83886080 bytes of memory") == 0);
  CHECK(of({.name = "x/data/0", .content = kFour, .deflate = true, .size = 1 << 30}).find("cannot hold") !=
        std::string::npos);
  // The directory.
  CHECK(of({.name = "x/data.pkl", .content = kFour}) == "two entries are called \"x/data.pkl\"");
  CHECK(of({.name = "x/data/0", .content = kFour, .header = 0}).find("is called \"x/data.pkl\" where it lies") !=
        std::string::npos);
  CHECK(of({.name = "x/data/0", .content = kFour, .header = 4}).find("there is no such entry at byte 4") !=
        std::string::npos);
  CHECK(of({.name = "x/data/0", .content = kFour, .header = 1 << 20}).find("lies at byte 1048576") !=
        std::string::npos);
  CHECK(of({.name = "x/data/0", .content = kFour, .flags = 1}).find("is encrypted") != std::string::npos);
  CHECK(of({.name = "x/data/0", .content = kFour, .method = 12}).find("packed by method 12") != std::string::npos);
  CHECK(of({.name = "x/data/0", .content = kFour, .local_name = "x/data/1"}).find("where it lies") !=
        std::string::npos);
  // An entry whose bytes are those of another that lies in them.
  const std::string inner = zip({{"x/data/0", kFour}});
  const std::string local = inner.substr(0, inner.find("PK\1\2"));
  const size_t at = zip({object}).find("PK\1\2") + 30 + std::strlen("x/outer");
  CHECK(
      failure(folder,
              zip({object, {"x/outer", local}, {.name = "x/data/0", .size = 16, .stored = 16, .header = int64_t(at)}}))
          .find("overlap") != std::string::npos);
  // Not torch, not NumPy.
  CHECK(failure(folder, zip({{"readme.txt", "hello"}})) ==
        "a zip archive, but neither of torch.save nor of numpy.savez");
  CHECK(failure(folder, "PK\3\4 and no more").find("a zip archive without a directory at its end") == 0);
  CHECK(failure(folder, "version https://git-lfs.github.com/spec/v1\noid sha256:0\n") ==
        "is the pointer of Git LFS in place of the file; git lfs pull fetches it");
  CHECK(failure(folder, "<!DOCTYPE html><html></html>") == "is a text, perhaps a web page; download the file itself");
  CHECK(failure(folder, "{\"metadata\": {}, \"weight_map\": {}}").starts_with("is a JSON text; "));
  CHECK(failure(folder, std::string(257, 'a') + "ustar").starts_with("is a tar archive; unpack it, or "));
  CHECK(failure(folder,
                "\x7f"
                "ELF and more") == "is a program");
  CHECK(failure(folder, "\x89HDF\r\n\x1a\n..").starts_with("is an HDF5 file"));
  CHECK(failure(folder, "hello, this is text").find("not a safetensors file") != std::string::npos);
  CHECK(failure(folder, "").find("too few") != std::string::npos);
}

TEST_CASE("checkpoint: arrays are checked", "[data]") {
  const ScratchFolder folder("ckpt_npy");
  const auto npy = [](std::string header, const std::string& content, char version = 1) {
    header += "\n";
    return std::string("\x93NUMPY") + version + '\0' + little(header.size(), version == 1 ? 2 : 4) + header + content;
  };
  const auto of = [&](const std::string& array) { return failure(folder, zip({{"w.npy", array}})); };
  const std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }";
  for (const char version : {1, 2, 3})
    CHECK(values(folder, zip({{"w.npy", npy(good, kFour, version)}})) == Doubles{1, 2, 3, 4});
  CHECK(values(folder, zip({{"w.npy", npy(R"({"shape":(2L,2),"descr":"<f4","fortran_order":True})", kFour)}})) ==
        Doubles{1, 3, 2, 4});
  CHECK(of(npy(good, kFour, 4)) == "\"w.npy\": is an .npy file of version 4; 1 to 3 can be read");
  CHECK(of("\x93NUMPX" + kFour) == "\"w.npy\": is no .npy file");
  CHECK(of("") == "\"w.npy\": is no .npy file: 0 bytes");
  CHECK(of(npy(good, kFour + "x")) == "\"w.npy\": 4 elements of float32 do not fill its 17 bytes");
  const auto header = [&](const std::string& descr, const std::string& shape) {
    return of(npy("{'descr': " + descr + ", 'fortran_order': False, 'shape': " + shape + "}", kFour));
  };
  CHECK(header("'|O'", "(4,)").find("has elements \"|O\", pickled objects;") != std::string::npos);
  CHECK(header("'<f3'", "(4,)").find("has elements \"<f3\"") != std::string::npos);
  CHECK(header("'<c8'", "(2,)").find("has elements \"<c8\"") != std::string::npos);
  CHECK(header("[('a', '<f4')]", "(4,)").find("holds records") != std::string::npos);
  CHECK(header("'<f4'", "(99999999999999999999,)").find("passes 64 bits") != std::string::npos);
  CHECK(header("'<f4'", "(4294967296, 4294967296)").find("larger than any memory") != std::string::npos);
  CHECK(header("'<f4'", "(-4,)").find("no size at character") != std::string::npos);
  CHECK(header("'<f4'", "4").find("has no (") != std::string::npos);
  CHECK(of(npy("{'descr': '<f4', 'shape': (4,)}", kFour)).find("is not descr, fortran_order and shape") !=
        std::string::npos);
  CHECK(of(npy("{'descr': '<f4", kFour)).find("a text without end") != std::string::npos);
  CHECK(of(npy(good + "x", kFour)).find("is not descr") != std::string::npos);
  CHECK(of(npy("{'descr': '<u8', 'fortran_order': False, 'shape': (1,)}", little(UINT64_MAX, 8))) ==
        "\"w.npy\": the uint64 18446744073709551615 passes the range of i64");
}

TEST_CASE("checkpoint: every truncation is an error", "[data]") {
  const ScratchFolder folder("ckpt_cut");
  for (const char* name : {"zip.pth", "legacy.pth", "packed.npz"}) {
    const std::string whole = bytes_of(name), file = folder.write("cut", whole);
    for (size_t n = whole.size(); n-- > 0;) {
      INFO(name << ": " << n << " of " << whole.size() << " bytes");
      std::filesystem::resize_file(file, n);
      CHECK(failure_of(file) != "no error");
    }
  }
}
