#include "data/checkpoint/state_dict.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "core/text.h"

namespace vitrine::data {
namespace {

using Kind = PickleValue::Kind;

struct NamedType {
  const char *storage, *dtype;  // "Float" of torch.FloatStorage, "float32" of torch.float32
  ElementType type;
};
constexpr NamedType kTypes[] = {{"Float", "float32", {ElementType::Kind::floating, 4}},
                                {"Double", "float64", {ElementType::Kind::floating, 8}},
                                {"Half", "float16", {ElementType::Kind::floating, 2}},
                                {"BFloat16", "bfloat16", {ElementType::Kind::brain, 2}},
                                {"Long", "int64", {ElementType::Kind::is_signed, 8}},
                                {"Int", "int32", {ElementType::Kind::is_signed, 4}},
                                {"Short", "int16", {ElementType::Kind::is_signed, 2}},
                                {"Char", "int8", {ElementType::Kind::is_signed, 1}},
                                {"Byte", "uint8", {ElementType::Kind::is_unsigned, 1}},
                                {"Bool", "bool", {ElementType::Kind::boolean, 1}},
                                {"UInt64", "uint64", {ElementType::Kind::is_unsigned, 8}},
                                {"UInt32", "uint32", {ElementType::Kind::is_unsigned, 4}},
                                {"UInt16", "uint16", {ElementType::Kind::is_unsigned, 2}}};

bool is_module(const PickleValue& global, std::string_view module) {
  return global.is(Kind::global) && global.items[0]->text == module;
}

/// "an object of argparse.Namespace"
std::string described(const PickleValue& v) {
  const PickleValue* global = v.is(Kind::call) ? v.items[0] : &v;
  if (!global->is(Kind::global)) return v.is(Kind::call) ? "an object" : "no tensors";
  return "an object of " + in_quotes(global->items[0]->text + "." + global->items[1]->text);
}

/// The call of a torch._utils function that rebuilds a tensor, out of those that make it a Parameter; nullptr if
/// `value` is none.
const PickleValue* rebuilding(const PickleValue* value) {
  constexpr int kMostWrappers = 4;
  for (int i = 0; i < kMostWrappers && value->is(Kind::call) && is_module(*value->items[0], "torch._utils"); ++i) {
    const std::string& name = value->items[0]->items[1]->text;
    if (name == "_rebuild_tensor_v2" || name == "_rebuild_tensor" || name == "_rebuild_tensor_v3") return value;
    const auto& arguments = value->items[1]->items;
    if (!name.starts_with("_rebuild_parameter") || arguments.empty()) break;
    value = arguments[0];
  }
  return nullptr;
}

/// A tensor and where it lies.
struct Record {
  std::string name;
  StorageId storage;
  int64_t offset = 0;
  Shape shape = {}, strides = {};
};

std::vector<int64_t> integers(const InputFile& file, const std::string& what, const PickleValue* value) {
  if (value->is(Kind::call) && value->items[0]->is_global("torch", "Size") && value->items[1]->items.size() == 1)
    value = value->items[1]->items[0];
  std::vector<int64_t> list;
  const bool sequence = value->is(Kind::tuple) || value->is(Kind::list);
  file.require(sequence && value->items.size() <= size_t(Shape::kMaxDims),
               "{}: a shape or strides that are no list of at most {} numbers", what, Shape::kMaxDims);
  for (const PickleValue* n : value->items) {
    file.require(n->is(Kind::integer), "{}: a size or stride is no integer of 64 bits", what);
    list.push_back(n->number);
  }
  return list;
}

/// Reads the arguments of a rebuilding call: (storage, offset, sizes, strides, requires_grad, hooks, ...).
Record read_record(const InputFile& file, const std::string& name, const PickleValue& call) {
  const std::string what = "tensor " + in_quotes(name);
  const auto& a = call.items[1]->items;
  const bool typed_late = call.items[0]->items[1]->text == "_rebuild_tensor_v3";  // (..., hooks, dtype, ...)
  file.require(a.size() >= (typed_late ? 7 : 4) && a[0]->is(Kind::persistent) && a[1]->is(Kind::integer),
               "{}: malformed: it has no storage and offset", what);
  Record r{.name = name, .storage = storage_id(file, *a[0]), .offset = a[1]->number};
  if (typed_late) {
    const auto* found = std::find_if(std::begin(kTypes), std::end(kTypes),
                                     [&](const NamedType& t) { return a[6]->is_global("torch", t.dtype); });
    file.require(found != std::end(kTypes), "{}: has elements that cannot be read: {}", what, described(*a[6]));
    r.storage.type = found->type;
    if (r.storage.untyped) r.storage.window_count = r.storage.count /= found->type.bytes;
  } else {
    file.require(!r.storage.untyped, "{}: its elements have no type", what);
  }
  const ElementType type = r.storage.type;
  r.shape = checked_shape(file, what, integers(file, what, a[2]), std::max(type.bytes, size_of(type.dtype())));
  const std::vector<int64_t> strides = integers(file, what, a[3]);
  file.require(strides.size() == size_t(r.shape.size()), "{}: {} strides for shape {}", what, strides.size(), r.shape);
  bool inside = r.offset >= 0, empty = false;
  int64_t last = r.offset;
  for (int64_t i = 0; i < r.shape.size(); ++i) {
    const int64_t stride = strides[size_t(i)];
    r.strides.push_back(stride);
    empty = empty || r.shape[i] == 0;
    int64_t reach = 0;
    inside = inside && stride >= 0 &&
             (r.shape[i] == 0 ||
              (!__builtin_mul_overflow(r.shape[i] - 1, stride, &reach) && !__builtin_add_overflow(last, reach, &last)));
  }
  file.require(inside && (empty || last < r.storage.window_count),
               "{}: shape {} with strides {} from element {} on does not lie in its storage of {} elements", what,
               r.shape, r.strides, r.offset, r.storage.window_count);
  return r;
}

/// Walks over the object for what holds tensors. Values may be shared or contain themselves, so steps are counted.
class Walk {
 public:
  explicit Walk(const InputFile& file) : file_(file) {}

  bool holds_tensors(const PickleValue& v, int depth = 0) {
    step(depth);
    if (rebuilding(&v)) return true;
    if (!is_collection(v)) return false;
    for (size_t i = v.is(Kind::dict); i < v.items.size(); i += v.is(Kind::dict) ? 2 : 1)
      if (holds_tensors(*v.items[i], depth + 1)) return true;
    return false;
  }

  /// Every tensor in `v`, under its name; what is neither tensor nor collection is passed over.
  void collect(const PickleValue& v, const std::string& name, int depth = 0) {
    step(depth);
    if (const PickleValue* call = rebuilding(&v)) {
      constexpr size_t kMost = size_t(1) << 17;
      file_.require(records.size() < kMost, "more than {} tensors", kMost);
      records.push_back(read_record(file_, name, *call));
      file_.require(names_.insert(name).second, "two tensors are called {}", in_quotes(name));
    } else if (is_collection(v)) {
      const bool dict = v.is(Kind::dict);
      for (size_t i = dict; i < v.items.size(); i += dict ? 2 : 1) {
        const PickleValue& key = *v.items[i - dict];
        const std::string part = !dict                   ? std::to_string(i)
                                 : key.is(Kind::integer) ? std::to_string(key.number)
                                                         : key.text;
        collect(*v.items[i], joined(name, part), depth + 1);
      }
    } else {
      constexpr int64_t kShown = 8;
      if (++passed_over <= kShown) examples.push_back(in_quotes(name));
      if (passed_over == kShown + 1) examples.push_back("...");
    }
  }

  std::vector<Record> records;
  int64_t passed_over = 0;
  std::vector<std::string> examples;  ///< the first names of those

 private:
  static bool is_collection(const PickleValue& v) { return v.is(Kind::dict) || v.is(Kind::list) || v.is(Kind::tuple); }
  std::string joined(const std::string& name, const std::string& part) const {
    constexpr size_t kMost = 1000;
    file_.require(name.size() + part.size() < kMost, "a name of more than {} characters: {}", kMost,
                  in_quotes(name.empty() ? part : name));
    return name.empty() ? part : name + "." + part;
  }
  void step(int depth) {
    constexpr int kDeepest = 32;
    constexpr int64_t kMost = int64_t(1) << 22;
    file_.require(depth <= kDeepest, "dicts and lists are nested more than {} deep", kDeepest);
    file_.require(++steps_ <= kMost, "dicts and lists with more than {} values", kMost);
  }

  const InputFile& file_;
  int64_t steps_ = 0;
  std::set<std::string> names_;
};

/// Which part of the object is read; `key` becomes its key.
const PickleValue& choose(const InputFile& file, const PickleValue& root, std::string& key) {
  Walk walk(file);
  if (!root.is(Kind::dict)) {
    file.require(key.empty(), "holds no dict that could have an entry {}", in_quotes(key));
    file.require(walk.holds_tensors(root), "holds no tensors in plain dicts and lists, but {}", described(root));
    return root;
  }
  constexpr size_t kShown = 20;  // of each kind, in messages
  std::map<std::string, const PickleValue*> candidates;
  std::vector<std::string> with, without;
  bool direct = false;
  for (size_t i = 0; i + 1 < root.items.size(); i += 2) {
    const PickleValue &name = *root.items[i], &value = *root.items[i + 1];
    direct = direct || rebuilding(&value);
    if (!name.is(Kind::text)) continue;
    if (walk.holds_tensors(value)) {
      file.require(candidates.emplace(name.text, &value).second, "two entries are called {}", in_quotes(name.text));
      if (with.size() <= kShown) with.push_back(with.size() < kShown ? in_quotes(name.text) : "...");
    } else if (without.size() < kShown) {
      without.push_back(in_quotes(name.text) + ": " + described(value));
    }
  }
  file.require(!with.empty(), "holds no tensors in plain dicts and lists ({}); save a model's state_dict()",
               without.empty() ? "it is empty" : join(without));
  if (!key.empty()) {
    file.require(candidates.contains(key), "no entry {} holds tensors; those that do: {}", in_quotes(key), join(with));
    return *candidates[key];
  }
  for (const char* usual : {"model", "state_dict", "model_state_dict", "model_ema", "state_dict_ema"}) {
    const auto found = candidates.find(usual);
    if (found != candidates.end() && found->second->is(Kind::dict)) return key = usual, *found->second;
  }
  if (direct) return root;
  file.require(candidates.size() == 1, "several entries hold tensors; choose one with --key: {}", join(with));
  key = candidates.begin()->first;
  return *candidates.begin()->second;
}

/// Reads the storages in turn. One that several tensors lie in stays until its last was made.
class Reader {
 public:
  Reader(const InputFile& file, const Storages& storages, const std::vector<Record>& records)
      : file_(file), storages_(storages) {
    for (const Record& r : records) ++open_[id_of(r)].uses;
  }

  Tensor read(const Record& r) {
    const ElementType type = r.storage.type;
    const int64_t count = r.shape.numel();
    const auto found = open_.find(id_of(r));
    Open& open = found->second;
    if (count > 0 && !open.elements.defined()) {
      const auto in = storages_.open(r.storage);
      open.elements = read_elements(*in, type, r.storage.count, storages_.big_endian());
      in->skip_rest();
    }
    Tensor made;
    const bool whole = count == r.storage.count && r.strides == contiguous_strides(r.shape);
    if (count == 0) {
      made = empty(r.shape, {.dtype = type.dtype()});
    } else if (whole && open.uses == 1) {
      made = open.elements.view(r.shape);
    } else {
      file_.claim(uint64_t(count * size_of(type.dtype())));
      made = strided_view(open.elements, r.storage.window_offset + r.offset, r.shape, r.strides).clone();
    }
    if (--open.uses == 0) open_.erase(found);
    return made;
  }

 private:
  struct Open {
    int64_t uses = 0;
    Tensor elements;
  };
  using Id = std::tuple<std::string, ElementType::Kind, int64_t, int64_t>;
  static Id id_of(const Record& r) {
    return {r.storage.key, r.storage.type.kind, r.storage.type.bytes, r.storage.count};
  }

  const InputFile& file_;
  const Storages& storages_;
  std::map<Id, Open> open_;
};

}  // namespace

StorageId storage_id(const InputFile& file, const PickleValue& persistent) {
  const auto& p = persistent.items[0]->items;
  file.require(p.size() >= 5 && p[0]->text == "storage" && p[1]->is(Kind::global) && p[2]->is(Kind::text) &&
                   p[4]->is(Kind::integer) && p[4]->number >= 0,
               "refers to something that is no storage of a tensor");
  StorageId id{.key = p[2]->text, .count = p[4]->number, .window_count = p[4]->number};
  const std::string& name = p[1]->items[1]->text;
  id.untyped = p[1]->is_global("torch.storage", "UntypedStorage");
  id.type = {ElementType::Kind::is_unsigned, 1};
  if (!id.untyped) {
    const auto* found = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const NamedType& t) {
      return name == std::string(t.storage) + "Storage" &&
             (is_module(*p[1], "torch") || is_module(*p[1], "torch.cuda"));
    });
    file.require(found != std::end(kTypes), "storage {} cannot be read: {}", in_quotes(id.key), described(*p[1]));
    id.type = found->type;
  }
  if (p.size() > 5 && p[5]->is(Kind::tuple)) {
    const auto& window = p[5]->items;
    file.require(window.size() == 3 && window[1]->is(Kind::integer) && window[2]->is(Kind::integer) &&
                     window[1]->number >= 0 && window[2]->number >= 0 && window[1]->number <= id.count &&
                     window[2]->number <= id.count - window[1]->number,
                 "storage {}: a window outside of it", in_quotes(id.key));
    id.window_offset = window[1]->number, id.window_count = window[2]->number;
  }
  return id;
}

void read_state_dict(const InputFile& file, const PickleValue& root, const std::string& key, const Storages& storages,
                     Checkpoint& read) {
  read.key = key;
  const PickleValue& chosen = choose(file, root, read.key);
  Walk walk(file);
  walk.collect(chosen, "");
  Reader reader(file, storages, walk.records);
  for (const Record& r : walk.records) {
    read.content.tensors.emplace_back(r.name.empty() ? "tensor" : r.name, reader.read(r));
    if (!r.storage.type.exact()) read.notes.push_back(widened_note(r.name, r.storage.type));
  }
  if (walk.passed_over > 0)
    read.notes.push_back(
        format("{} values that are no tensors passed over: {}", walk.passed_over, join(walk.examples)));
}

}  // namespace vitrine::data
