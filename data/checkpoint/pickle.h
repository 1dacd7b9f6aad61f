#pragma once
#include <deque>
#include <string>
#include <vector>

#include "data/checkpoint/input_file.h"

/// Pickles (protocols 2 to 4) as data: nothing in them is looked up, imported or called.
namespace vitrine::data {

/// A value of a pickle. A call is kept as what it says: what would be called, and its arguments. So is every object of
/// a class; only those whose names a reader knows ever mean anything.
struct PickleValue {
  enum class Kind {
    other,       ///< None, a float, bytes, an integer beyond 64 bits, a set
    boolean,     ///< `number` is 0 or 1
    integer,     ///< `number`
    text,        ///< `text`
    tuple,       ///< `items`
    list,        ///< `items`
    dict,        ///< `items`: key, value, key, value, ...; also an OrderedDict
    global,      ///< `items`: the texts of its module and its name
    call,        ///< `items`: what would be called or made, and the tuple of its arguments
    persistent,  ///< `items`: one, the id of something stored elsewhere
  };
  Kind kind = Kind::other;
  int64_t number = 0;
  std::string text = {};
  std::vector<const PickleValue*> items = {};

  bool is(Kind k) const { return kind == k; }
  bool is_global(std::string_view module, std::string_view name) const {
    return is(Kind::global) && items[0]->text == module && items[1]->text == name;
  }
};

/// The values of one pickle. They may refer to each other in circles, so who walks over them counts steps and depth.
class Pickle {
 public:
  /// Reads one pickle from where `in` stands. @throws IoError naming the place: truncated, an opcode that checkpoints
  /// do not use or that finds nothing to act on, more than 4 million values
  explicit Pickle(ByteSource& in);
  const PickleValue& root() const { return *root_; }
  const std::deque<PickleValue>& values() const { return values_; }
  /// Bytes read, where the source itself may have been read further.
  uint64_t bytes() const { return bytes_; }

 private:
  std::deque<PickleValue> values_;  // never moves; no value owns another, so nothing recurses when they go
  const PickleValue* root_ = nullptr;
  uint64_t bytes_ = 0;
  friend class Unpickler;
};

}  // namespace vitrine::data
