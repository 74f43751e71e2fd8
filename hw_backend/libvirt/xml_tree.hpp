// XML as a tree: the one place that uses libxml2. Handles are cheap and may be null, so that a
// chain of look-ups needs one test at its end.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

struct _xmlDoc;
struct _xmlNode;

namespace ferry {

/// An element of an `XmlDocument`, or null. Valid as long as its document.
class XmlElement {
 public:
  XmlElement() = default;
  explicit XmlElement(_xmlNode* node) : node_(node) {}
  explicit operator bool() const { return node_ != nullptr; }

  // On null these give empty results.
  [[nodiscard]] std::string name() const;  ///< without namespace prefix
  [[nodiscard]] bool has_attribute(const char* name) const;
  [[nodiscard]] std::string attribute(const char* name) const;
  [[nodiscard]] std::string content() const;                    ///< all text below it
  [[nodiscard]] XmlElement child(std::string_view name) const;  ///< the first one
  [[nodiscard]] std::vector<XmlElement> children() const;
  [[nodiscard]] std::vector<XmlElement> children(std::string_view name) const;
  [[nodiscard]] std::string text() const;  ///< the element as XML

  // These need an element. What they are given is escaped as XML needs it.
  void set_attribute(const char* name, const std::string& value) const;
  void remove_attribute(const char* name) const;
  void set_content(const std::string& content) const;
  [[nodiscard]] XmlElement add(const char* name) const;  ///< a new last child
  void add_copy(const XmlElement& element) const;        ///< a deep copy as last child
  void remove() const;                                   ///< from its document; the handle dies
  /// Removes every child of that name.
  void remove_children(std::string_view name) const;

 private:
  _xmlNode* node_ = nullptr;
};

class XmlDocument {
 public:
  /// Nothing if `text` is not well-formed. Reads no other file and expands no entity.
  static std::optional<XmlDocument> parse(std::string_view text);
  static XmlDocument with_root(const char* name);
  [[nodiscard]] XmlElement root() const;

 private:
  explicit XmlDocument(_xmlDoc* document);
  std::shared_ptr<_xmlDoc> document_;
};

}  // namespace ferry
