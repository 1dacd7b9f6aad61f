#include "data/checkpoint/npz.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "data/checkpoint/elements.h"

namespace vitrine::data {
namespace {

constexpr const char* kSuffix = ".npy";

struct Header {
  ElementType type;
  bool big_endian = false;
  std::optional<bool> fortran_order;
  std::optional<std::vector<int64_t>> shape;
  std::optional<std::string> descr;
};

/// Parses the literal of a Python dictionary that a header is.
class HeaderParser {
 public:
  HeaderParser(const ByteSource& in, const std::string& text) : in_(in), text_(text) {}

  Header parse() {
    Header header;
    expect('{');
    while (!next('}')) {
      const std::string key = string();
      expect(':');
      if (key == "descr" && !header.descr) {
        skip_spaces();
        in_.require(at_ < text_.size() && (text_[at_] == '\'' || text_[at_] == '"'),
                    "holds records, not numbers; only plain arrays can be read");
        header.descr = string();
      } else if (key == "fortran_order" && !header.fortran_order) {
        header.fortran_order = boolean();
      } else if (key == "shape" && !header.shape) {
        header.shape = sizes();
      } else {
        in_.require(false, "its header has the key {}, unknown or twice", in_quotes(key));
      }
      if (!next(',')) {
        expect('}');
        break;
      }
    }
    skip_spaces();
    in_.require(at_ == text_.size() && header.descr && header.fortran_order && header.shape,
                "its header is not descr, fortran_order and shape");
    return header;
  }

 private:
  void skip_spaces() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  bool next(char c) {
    skip_spaces();
    const bool found = at_ < text_.size() && text_[at_] == c;
    at_ += found;
    return found;
  }
  void expect(char c) { in_.require(next(c), "its header has no {} at character {}", std::string(1, c), at_); }
  std::string string() {
    const char mark = next('"') ? '"' : '\'';
    if (mark == '\'') expect('\'');
    const size_t end = text_.find(mark, at_);
    in_.require(end != std::string::npos, "its header has a text without end");
    std::string s = text_.substr(at_, end - at_);
    at_ = end + 1;
    return s;
  }
  bool boolean() {
    skip_spaces();
    for (const char* word : {"True", "False"})
      if (text_.compare(at_, std::strlen(word), word) == 0) return at_ += std::strlen(word), word[0] == 'T';
    in_.require(false, "its header has neither True nor False at character {}", at_);
    return false;
  }
  int64_t integer() {
    skip_spaces();
    int64_t x = 0;
    const size_t start = at_;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_)
      in_.require(!__builtin_mul_overflow(x, int64_t(10), &x) && !__builtin_add_overflow(x, text_[at_] - '0', &x),
                  "a size passes 64 bits");
    in_.require(at_ > start, "its header has no size at character {}", at_);
    next('L');  // of Python 2
    return x;
  }
  std::vector<int64_t> sizes() {
    std::vector<int64_t> list;
    expect('(');
    while (!next(')')) {
      list.push_back(integer());
      if (!next(',')) {
        expect(')');
        break;
      }
    }
    return list;
  }

  const ByteSource& in_;
  const std::string& text_;
  size_t at_ = 0;
};

void parse_type(const ByteSource& in, Header& header) {
  using Kind = ElementType::Kind;
  struct Known {
    char letter;
    Kind kind;
    const char* sizes;
  };
  constexpr Known kKnown[] = {{'f', Kind::floating, "248"},
                              {'i', Kind::is_signed, "1248"},
                              {'u', Kind::is_unsigned, "1248"},
                              {'b', Kind::boolean, "1"}};
  const std::string& d = *header.descr;
  const Known* found = nullptr;
  if (d.size() == 3 && std::strchr("<>|=", d[0]))
    for (const Known& known : kKnown)
      if (d[1] == known.letter && std::strchr(known.sizes, d[2])) found = &known;
  in.require(found, "has elements {}{}; f2 f4 f8, i1 i2 i4 i8, u1 u2 u4 u8 and b1 can be read", in_quotes(d),
             d.find('O') == std::string::npos ? "" : ", pickled objects");
  header.type = {found->kind, d[2] - '0'};
  header.big_endian = d[0] == '>';
}

Header read_header(ByteSource& in) {
  unsigned char head[8], length[4] = {};
  in.require(in.remaining() >= sizeof head, "is no .npy file: {} bytes", in.remaining());
  in.read(head, sizeof head);
  in.require(std::memcmp(head, "\x93NUMPY", 6) == 0, "is no .npy file");
  in.require(head[6] >= 1 && head[6] <= 3, "is an .npy file of version {}; 1 to 3 can be read", int(head[6]));
  in.read(length, head[6] == 1 ? 2 : 4);
  constexpr uint32_t kMost = 1 << 16;  // a page of text would be long
  const auto bytes = little_endian<uint32_t>(length);
  in.require(bytes <= kMost, "has a header of {} bytes, more than {}", bytes, kMost);
  std::string text(bytes, '\0');
  in.read(text.data(), bytes);
  Header header = HeaderParser(in, text).parse();
  parse_type(in, header);
  return header;
}

Tensor read_array(ByteSource& in, ElementType& type) {
  const Header header = read_header(in);
  type = header.type;
  Shape shape =
      checked_shape(in.file(), in.name(), *header.shape, std::max<int64_t>(type.bytes, size_of(type.dtype())));
  in.require(uint64_t(shape.numel()) * uint64_t(type.bytes) == in.remaining(),
             "{} elements of {} do not fill its {} bytes", shape.numel(), type.name(), in.remaining());
  const Tensor flat = read_elements(in, type, shape.numel(), header.big_endian);
  if (!*header.fortran_order || shape.size() < 2) return flat.view(shape);
  in.file().claim(uint64_t(shape.numel() * size_of(flat.dtype())));
  std::reverse(shape.begin(), shape.end());
  Shape turned;
  for (int64_t i = shape.size() - 1; i >= 0; --i) turned.push_back(i);
  return flat.view(shape).permute(turned).contiguous();
}

}  // namespace

bool is_npz(const ZipArchive& archive) {
  return !archive.entries().empty() && std::all_of(archive.entries().begin(), archive.entries().end(),
                                                   [](const ZipEntry& e) { return e.name.ends_with(kSuffix); });
}

Checkpoint read_npz(const ZipArchive& archive) {
  Checkpoint read{.format = "npz"};
  for (const ZipEntry& entry : archive.entries()) {
    const std::string name = entry.name.substr(0, entry.name.size() - std::strlen(kSuffix));
    const auto in = archive.open(entry);
    ElementType type;
    read.content.tensors.emplace_back(name, read_array(*in, type));
    if (!type.exact()) read.notes.push_back(widened_note(name, type));
  }
  return read;
}

}  // namespace vitrine::data
