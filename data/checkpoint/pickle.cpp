#include "data/checkpoint/pickle.h"

#include <algorithm>
#include <unordered_map>

namespace vitrine::data {

using Kind = PickleValue::Kind;
using Items = std::vector<const PickleValue*>;

namespace {

enum Opcode : unsigned char {
  kMark = 0x28,
  kEmptyTuple = 0x29,
  kStop = 0x2e,
  kPop = 0x30,
  kPopMark = 0x31,
  kBinBytes = 0x42,
  kShortBinBytes = 0x43,
  kBinFloat = 0x47,
  kBinInt = 0x4a,
  kBinInt1 = 0x4b,
  kBinInt2 = 0x4d,
  kNone = 0x4e,
  kBinPersId = 0x51,
  kReduce = 0x52,
  kBinString = 0x54,  // of Python 2
  kShortBinString = 0x55,
  kBinUnicode = 0x58,
  kEmptyList = 0x5d,
  kAppend = 0x61,
  kBuild = 0x62,
  kGlobal = 0x63,
  kDict = 0x64,
  kAppends = 0x65,
  kBinGet = 0x68,
  kLongBinGet = 0x6a,
  kList = 0x6c,
  kBinPut = 0x71,
  kLongBinPut = 0x72,
  kSetItem = 0x73,
  kTuple = 0x74,
  kSetItems = 0x75,
  kEmptyDict = 0x7d,
  kProto = 0x80,
  kNewObj = 0x81,
  kTuple1 = 0x85,
  kTuple2,
  kTuple3,
  kNewTrue,
  kNewFalse,
  kLong1,
  kLong4,
  kShortBinUnicode,
  kBinUnicode8,
  kEmptySet = 0x8f,
  kAddItems,
  kStackGlobal = 0x93,
  kMemoize,
  kFrame,
};

constexpr size_t kMostValues = size_t(1) << 22;

/// Reads a source ahead of the opcodes, most of which are one byte.
class Reader {
 public:
  explicit Reader(ByteSource& in) : in_(in) {}
  uint64_t position() const { return taken_; }
  uint64_t remaining() const { return end_ - at_ + in_.remaining(); }

  void read(unsigned char* out, uint64_t bytes) {
    in_.require(bytes <= remaining(), "truncated: the pickle wants {} bytes at its byte {}, {} are there", bytes,
                taken_, remaining());
    taken_ += bytes;
    while (bytes > 0) {
      if (at_ == end_) {
        at_ = 0, end_ = size_t(std::min<uint64_t>(sizeof buffer_, in_.remaining()));
        in_.read(buffer_, end_);
      }
      const size_t part = size_t(std::min<uint64_t>(bytes, end_ - at_));
      std::copy_n(buffer_ + at_, part, out);
      at_ += part, out += part, bytes -= part;
    }
  }
  unsigned char byte() {
    unsigned char b = 0;
    read(&b, 1);
    return b;
  }
  /// A little-endian number of so many bytes.
  uint64_t number(int bytes) {
    unsigned char b[8] = {};
    read(b, uint64_t(bytes));
    return little_endian<uint64_t>(b);
  }
  std::string text(uint64_t bytes) {
    in_.require(bytes <= remaining(), "truncated: the pickle wants {} bytes at its byte {}, {} are there", bytes,
                taken_, remaining());
    std::string s(bytes, '\0');
    read(reinterpret_cast<unsigned char*>(s.data()), bytes);
    return s;
  }
  void skip(uint64_t bytes) {
    unsigned char unused[256];
    for (; bytes > 0; bytes -= std::min<uint64_t>(bytes, sizeof unused))
      read(unused, std::min<uint64_t>(bytes, sizeof unused));
  }
  /// What stands before the next line end.
  std::string line() {
    constexpr size_t kMost = 1000;
    std::string s;
    for (unsigned char c = byte(); c != '\n'; c = byte()) {
      in_.require(s.size() < kMost, "the name at byte {} of the pickle has no end", taken_ - s.size());
      s += char(c);
    }
    return s;
  }

 private:
  ByteSource& in_;
  unsigned char buffer_[4096];
  size_t at_ = 0, end_ = 0;
  uint64_t taken_ = 0;
};

}  // namespace

/// The stack machine that a pickle is a program for. Values above a mark belong to it and cannot be popped singly.
class Unpickler {
 public:
  Unpickler(ByteSource& in, Pickle& out) : source_(in), in_(in), out_(out) {}

  void run() {
    while (!out_.root_) {
      op_at_ = in_.position();
      op_ = in_.byte();
      if (!constant() && !collection() && !memory() && !object()) {
        constexpr char kHex[] = "0123456789abcdef";
        fail(format("opcode 0x{}{} has no place in a checkpoint", std::string(1, kHex[op_ >> 4]),
                    std::string(1, kHex[op_ & 15])));
      }
    }
    out_.bytes_ = in_.position();
  }

 private:
  [[noreturn]] void fail(const std::string& problem) const {
    source_.require(false, "{}, at byte {} of the pickle", problem, op_at_);
    __builtin_unreachable();
  }
  void need(bool condition, const char* problem) const {
    if (!condition) [[unlikely]]
      fail(problem);
  }

  PickleValue& push(PickleValue value) {
    need(out_.values_.size() < kMostValues, "more than 4 million values");
    out_.values_.push_back(std::move(value));
    stack_.push_back(&out_.values_.back());
    return out_.values_.back();
  }
  void push_text(std::string text) { push({.kind = Kind::text, .text = std::move(text)}); }
  void push_integer(int64_t x) { push({.kind = Kind::integer, .number = x}); }

  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  PickleValue* pop() {
    need(stack_.size() > floor(), "an opcode finds nothing on the stack");
    PickleValue* value = stack_.back();
    stack_.pop_back();
    return value;
  }
  PickleValue& top() {
    need(stack_.size() > floor(), "an opcode finds nothing on the stack");
    return *stack_.back();
  }
  /// Takes all values above the last mark, and the mark.
  Items pop_to_mark() {
    need(!marks_.empty(), "an opcode finds no mark on the stack");
    Items items(stack_.begin() + ptrdiff_t(marks_.back()), stack_.end());
    stack_.resize(marks_.back());
    marks_.pop_back();
    return items;
  }
  Items pop_some(int count) {
    Items items(static_cast<size_t>(count));
    for (int i = count - 1; i >= 0; --i) items[size_t(i)] = pop();
    return items;
  }

  /// Integers of any length; those beyond 64 bits are not kept.
  void long_integer(uint64_t bytes) {
    if (bytes > 8) return in_.skip(bytes), void(push({}));
    uint64_t x = in_.number(int(bytes));
    if (bytes > 0 && bytes < 8 && (x >> (8 * bytes - 1)) != 0) x |= ~uint64_t(0) << 8 * bytes;
    push_integer(int64_t(x));
  }

  bool constant() {
    switch (op_) {
      case kNone:
        return push({}), true;
      case kNewTrue:
      case kNewFalse:
        return push({.kind = Kind::boolean, .number = op_ == kNewTrue}), true;
      case kBinInt:
        return push_integer(int32_t(uint32_t(in_.number(4)))), true;
      case kBinInt1:
        return push_integer(int64_t(in_.number(1))), true;
      case kBinInt2:
        return push_integer(int64_t(in_.number(2))), true;
      case kLong1:
        return long_integer(in_.number(1)), true;
      case kLong4:
        return long_integer(in_.number(4)), true;
      case kBinFloat:
        return in_.skip(8), push({}), true;
      case kBinUnicode:
      case kBinString:
        return push_text(in_.text(in_.number(4))), true;
      case kShortBinUnicode:
      case kShortBinString:
        return push_text(in_.text(in_.number(1))), true;
      case kBinUnicode8:
        return push_text(in_.text(in_.number(8))), true;
      case kBinBytes:
        return in_.skip(in_.number(4)), push({}), true;
      case kShortBinBytes:
        return in_.skip(in_.number(1)), push({}), true;
    }
    return false;
  }

  void make(Kind kind, Items items) {
    need(kind != Kind::dict || items.size() % 2 == 0, "a key has no value");
    push({.kind = kind, .items = std::move(items)});
  }
  /// Adds to the collection on top. What an object does with items is not known: it forgets them.
  void add(Kind kind, const Items& items) {
    PickleValue& to = top();
    need(to.is(kind) || to.is(Kind::call) || to.is(Kind::other), "items are added to what holds none");
    need(kind != Kind::dict || items.size() % 2 == 0, "a key has no value");
    if (to.is(kind)) to.items.insert(to.items.end(), items.begin(), items.end());
  }
  bool collection() {
    switch (op_) {
      case kMark:
        return marks_.push_back(stack_.size()), true;
      case kPop:
        return pop(), true;
      case kPopMark:
        return pop_to_mark(), true;
      case kEmptyDict:
        return make(Kind::dict, {}), true;
      case kEmptyList:
        return make(Kind::list, {}), true;
      case kEmptyTuple:
        return make(Kind::tuple, {}), true;
      case kEmptySet:
        return make(Kind::other, {}), true;
      case kDict:
        return make(Kind::dict, pop_to_mark()), true;
      case kList:
        return make(Kind::list, pop_to_mark()), true;
      case kTuple:
        return make(Kind::tuple, pop_to_mark()), true;
      case kTuple1:
      case kTuple2:
      case kTuple3:
        return make(Kind::tuple, pop_some(op_ - kTuple1 + 1)), true;
      case kAppend:
        return add(Kind::list, pop_some(1)), true;
      case kAppends:
        return add(Kind::list, pop_to_mark()), true;
      case kSetItem:
        return add(Kind::dict, pop_some(2)), true;
      case kSetItems:
        return add(Kind::dict, pop_to_mark()), true;
      case kAddItems:
        return add(Kind::other, pop_to_mark()), true;
    }
    return false;
  }

  void keep(uint64_t at) { memo_[at] = &top(); }
  void recall(uint64_t at) {
    const auto found = memo_.find(at);
    need(found != memo_.end(), "a value is recalled that was never kept");
    stack_.push_back(found->second);
  }
  bool memory() {
    switch (op_) {
      case kBinPut:
        return keep(in_.number(1)), true;
      case kLongBinPut:
        return keep(in_.number(4)), true;
      case kMemoize:
        return keep(memo_.size()), true;
      case kBinGet:
        return recall(in_.number(1)), true;
      case kLongBinGet:
        return recall(in_.number(4)), true;
      case kProto:
        return need(in_.byte() <= 5, "a pickle of a newer protocol"), true;
      case kFrame:
        return in_.skip(8), true;
    }
    return false;
  }

  /// An OrderedDict is a dict: empty, or of a list of pairs as Python 2 wrote it.
  bool ordered_dict(const PickleValue& arguments) {
    PickleValue dict{.kind = Kind::dict};
    for (const PickleValue* pairs : arguments.items)
      for (const PickleValue* pair : pairs->items) {
        if (pair->items.size() != 2) return false;
        need(++copied_ < kMostValues, "too many items of dicts");  // one list may be recalled often
        dict.items.insert(dict.items.end(), pair->items.begin(), pair->items.end());
      }
    return push(std::move(dict)), true;
  }
  void call() {
    const Items parts = pop_some(2);
    need(parts[1]->is(Kind::tuple), "the arguments of a call are no tuple");
    if (op_ == kReduce && parts[0]->is_global("collections", "OrderedDict") && ordered_dict(*parts[1])) return;
    push({.kind = Kind::call, .items = parts});
  }
  void global() {
    for (int i = 0; op_ == kGlobal && i < 2; ++i) push_text(in_.line());
    const Items names = pop_some(2);
    need(names[0]->is(Kind::text) && names[1]->is(Kind::text), "a global whose name is no text");
    push({.kind = Kind::global, .items = names});
  }
  bool object() {
    switch (op_) {
      case kGlobal:
      case kStackGlobal:
        return global(), true;
      case kReduce:
      case kNewObj:
        return call(), true;
      case kBuild:  // the state of an object is not kept
        return pop(), top(), true;
      case kBinPersId:
        return push({.kind = Kind::persistent, .items = pop_some(1)}), true;
      case kStop:
        return out_.root_ = pop(), true;
    }
    return false;
  }

  ByteSource& source_;
  Reader in_;
  Pickle& out_;
  unsigned char op_ = 0;
  uint64_t op_at_ = 0;
  size_t copied_ = 0;
  std::vector<PickleValue*> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint64_t, PickleValue*> memo_;
};

Pickle::Pickle(ByteSource& in) { Unpickler(in, *this).run(); }

}  // namespace vitrine::data
