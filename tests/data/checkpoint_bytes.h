#pragma once
#include <zlib.h>

#include <cstdint>
#include <string>
#include <vector>

/// Writes the parts of torch files and zip archives, right or wrong, for tests of their readers.
namespace vitrine::testing {

inline std::string little(uint64_t x, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out += char(i < 8 ? x >> 8 * i : 0);
  return out;
}

/// An entry of an archive; what is not negative or empty is stated in place of the truth.
struct ZipPart {
  std::string name, content = {};
  bool deflate = false, descriptor = false, zip64 = false;  ///< descriptor: sizes behind the data
  int64_t crc = -1, size = -1, stored = -1, header = -1;
  int flags = 0, method = -1;
  std::string local_name = {};
};

/// @param window_bits  of zlib: what stands around the data
inline std::string deflated(const std::string& content, int window_bits = -MAX_WBITS) {
  z_stream z = {};
  deflateInit2(&z, 9, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&z, content.size()), '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data())), z.avail_in = uInt(content.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data()), z.avail_out = uInt(out.size());
  deflate(&z, Z_FINISH);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}

/// A gzip file.
inline std::string gzip(const std::string& content) { return deflated(content, MAX_WBITS + 16); }

inline std::string zip(const std::vector<ZipPart>& parts, const std::string& comment = {}) {
  std::string out, directory;
  for (const ZipPart& p : parts) {
    const std::string stored = p.deflate ? deflated(p.content) : p.content;
    const auto real = crc32(0, reinterpret_cast<const Bytef*>(p.content.data()), uInt(p.content.size()));
    const uint64_t crc = p.crc < 0 ? real : uint64_t(p.crc);
    const uint64_t bytes = p.size < 0 ? p.content.size() : uint64_t(p.size);
    const uint64_t packed = p.stored < 0 ? stored.size() : uint64_t(p.stored);
    const uint64_t header = p.header < 0 ? out.size() : uint64_t(p.header);
    const int flags = p.flags | (p.descriptor ? 8 : 0), method = p.method < 0 ? (p.deflate ? 8 : 0) : p.method;
    const std::string local = p.local_name.empty() ? p.name : p.local_name, kind = little(flags, 2) + little(method, 2);
    out += "PK\3\4" + little(20, 2) + kind + little(0, 4) + little(p.descriptor ? 0 : crc, 4) +
           little(p.descriptor ? 0 : packed, 4) + little(p.descriptor ? 0 : bytes, 4) + little(local.size(), 2) +
           little(0, 2) + local + stored;
    if (p.descriptor) out += "PK\7\10" + little(crc, 4) + little(packed, 4) + little(bytes, 4);
    const std::string wide = little(bytes, 8) + little(packed, 8) + little(header, 8);
    const std::string extra = p.zip64 ? little(7, 2) + little(2, 2) + "ab" + little(1, 2) + little(24, 2) + wide : "";
    const auto narrow = [&](uint64_t x) { return little(p.zip64 ? 0xffffffff : x, 4); };
    directory += "PK\1\2" + little(20, 2) + little(20, 2) + kind + little(0, 4) + little(crc, 4) + narrow(packed) +
                 narrow(bytes) + little(p.name.size(), 2) + little(extra.size(), 2) + little(0, 10) + narrow(header) +
                 p.name + extra;
  }
  const uint64_t begin = out.size();
  out += directory;
  return out + "PK\5\6" + little(0, 4) + little(parts.size(), 2) + little(parts.size(), 2) +
         little(directory.size(), 4) + little(begin, 4) + little(comment.size(), 2) + comment;
}

inline std::string text(const std::string& s) { return "X" + little(s.size(), 4) + s; }
inline std::string integer(int64_t x) { return "\x8a\x08" + little(uint64_t(x), 8); }
inline std::string tuple(const std::vector<int64_t>& list) {
  std::string out = "(";
  for (const int64_t x : list) out += integer(x);
  return out + "t";
}
inline std::string global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
inline std::string storage(const std::string& key, int64_t count, const std::string& type = "FloatStorage",
                           const std::string& window = {}) {
  return "(" + text("storage") + global(type == "UntypedStorage" ? "torch.storage" : "torch", type) + text(key) +
         text("cpu") + integer(count) + window + "tQ";
}
inline std::string tensor(const std::string& where, int64_t offset, const std::vector<int64_t>& sizes,
                          const std::vector<int64_t>& strides) {
  return global("torch._utils", "_rebuild_tensor_v2") + "(" + where + integer(offset) + tuple(sizes) + tuple(strides) +
         "\x89" + global("collections", "OrderedDict") + ")RtR";
}
inline std::string dict(const std::vector<std::pair<std::string, std::string>>& entries) {
  std::string out = "}(";
  for (const auto& [key, value] : entries) out += text(key) + value;
  return out + "u";
}
inline std::string pickle(const std::string& value) { return "\x80\x02" + value + "."; }

}  // namespace vitrine::testing
