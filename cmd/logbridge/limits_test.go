package main

func limitsMain() {}
